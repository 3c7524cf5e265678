"""Clients that others wrote, against a server of the bundled model; and a fuzzer."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest
from huggingface_hub import InferenceClient
from prometheus_client.parser import text_string_to_metric_families

from pegasus.serving.options import Keys, ServeOptions

KEY = "a-key-of-more-than-sixteen"
TEXT = "A new bridge opened in Paris. Thousands came to see it. The mayor spoke of a great day."

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def real(module_serving, bundled):
    """The bundled model, behind a key."""
    with module_serving(ServeOptions(port=0, keys=Keys.of([KEY])), opened=bundled) as one:
        yield one


@pytest.fixture(scope="module")
def summary(bundled):
    """What the model writes of the text, whoever asks."""
    return bundled(TEXT).text


@pytest.fixture
def openai(real):
    library = pytest.importorskip("openai", reason="openai is not installed")
    with library.OpenAI(base_url=f"{real.server.url}/v1", api_key=KEY, max_retries=0) as client:
        yield client


def test_openai_chat(openai, summary):
    name = openai.models.list().data[0].id
    message = {"role": "user", "content": TEXT}
    answer = openai.chat.completions.create(model=name, messages=[message])
    assert answer.choices[0].message.content == summary
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_openai_chat_streamed(openai, bundled):
    message = {"role": "user", "content": TEXT}
    stream = openai.chat.completions.create(
        model=openai.models.list().data[0].id, messages=[message], stream=True, extra_body={"num_beams": 1}
    )
    pieces = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
    assert "".join(pieces) == bundled(TEXT, num_beams=1).text
    assert len([piece for piece in pieces if piece]) > 3


def test_openai_completions(openai, summary):
    answer = openai.completions.create(model=openai.models.list().data[0].id, prompt=[TEXT, TEXT])
    assert [choice.text for choice in answer.choices] == [summary, summary]


def test_openai_hears_why_it_is_refused(openai):
    library = pytest.importorskip("openai")
    with pytest.raises(library.NotFoundError, match="The model served here is"):
        openai.chat.completions.create(model="other", messages=[{"role": "user", "content": TEXT}])
    with pytest.raises(library.UnprocessableEntityError) as told:
        openai.completions.create(model="pegasus-mini", prompt=TEXT, n=2)
    assert told.value.param == "n"
    with pytest.raises(library.AuthenticationError):
        openai.with_options(api_key="another").models.list()


def test_hugging_face(real, summary):
    client = InferenceClient(base_url=real.server.url, token=KEY)
    assert client.summarization(TEXT).summary_text == summary
    answer = client.summarization(TEXT, generate_parameters={"max_new_tokens": 4}, truncation="only_first")
    assert len(answer.summary_text) < len(summary)


def test_curl(real, summary):
    curl = shutil.which("curl") or pytest.skip("curl is not installed")
    command = [curl, "-sSN", "-H", f"Authorization: Bearer {KEY}", "-H", "Content-Type: application/json"]
    body = json.dumps({"document": TEXT, "stream": True})
    command += ["-d", body, f"{real.server.url}/v1/summarize"]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    events = [block.split("\n") for block in told.strip().split("\n\n")]
    assert [event[0] for event in events] == ["event: summary", "event: end"]
    assert json.loads(events[0][1].removeprefix("data: "))["summary"] == summary


def test_prometheus(real):
    text = real.client.get("/metrics", headers={"Authorization": f"Bearer {KEY}"}).text
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert families["pegasus_requests"].type == "counter"
    assert families["pegasus_request_seconds"].type == "histogram"
    buckets = [one for one in families["pegasus_queue_seconds"].samples if one.name.endswith("_bucket")]
    counts = [one.value for one in buckets]
    assert counts == sorted(counts)
    assert buckets[-1].labels["le"] == "+Inf"


def test_schemathesis(serving, stepped, tmp_path):
    """Whatever is sent, fitting or not: no route fails, none answers what it does not describe."""
    command = shutil.which("schemathesis") or pytest.skip("schemathesis is not installed")
    checks = (
        *("not_a_server_error", "status_code_conformance", "content_type_conformance"),
        *("response_schema_conformance", "response_headers_conformance", "negative_data_rejection"),
    )
    with serving(writer=stepped(limit=64)) as one:
        run = subprocess.run(
            [
                *(command, "run", f"{one.server.url}/openapi.json", "--mode", "all", "--no-color"),
                *("--phases", "coverage,fuzzing", "--max-examples", "200", "--checks", ",".join(checks)),
                *("--continue-on-failure", "--request-timeout", "60", "--warnings", "off"),
            ],
            capture_output=True,
            text=True,
            timeout=900,
            cwd=tmp_path,
        )
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr
