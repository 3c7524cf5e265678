"""Every route over a real connection: what it answers, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from huggingface_hub import InferenceClient
from prometheus_client.parser import text_string_to_metric_families

from pegasus.serving import answers

TEXT = "One two three four five six. Seven eight nine ten."
JSON = {"Content-Type": "application/json"}
LEAD = "One two three four five"


def events(response):
    """The events of a stream: (name or None, what it holds)."""
    found = []
    for block in response.text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines())
        data = fields["data"]
        found.append((fields.get("event"), data if data == "[DONE]" else json.loads(data)))
    return found


def test_a_document_becomes_a_summary_with_all_that_is_known_of_it(running):
    response = running.client.post("/v1/summarize", json={"document": TEXT})
    answer = response.json()
    assert response.status_code == 200
    assert answer["summary"] == LEAD
    assert answer["usage"] == {"input_tokens": 11, "summary_tokens": 6}
    assert (answer["finish_reason"], answer["truncated"], answer["model"]) == ("eos", False, "lead")


def test_documents_come_back_in_order_each_with_its_summary_or_its_error(running):
    documents = [TEXT, " ", f"Zero {TEXT}"]
    answer = running.client.post("/v1/summarize", json={"documents": documents}).json()
    first, second, third = answer["results"]
    assert (first["summary"], third["summary"]) == (LEAD, "Zero One two three four five")
    assert second["index"] == 1
    assert second["error"]["code"] == "bad_text"
    assert answer["usage"]["input_tokens"] == 11 + 12


def test_a_single_bad_document_is_refused(running):
    response = running.client.post("/v1/summarize", json={"document": "   "})
    assert response.status_code == 422
    assert "empty" in response.json()["error"]["message"]


def test_settings_reach_the_model(running):
    settings = {"num_beams": 3, "length_penalty": 0.5, "temperature": 0.7, "do_sample": True, "seed": 4}
    running.client.post("/v1/summarize", json={"document": TEXT, **settings})
    assert running.writer.asked[-1] == settings


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("num_beams", 9, "at most 8"),
        ("num_beam_groups", 9, "at most 8"),
        ("extend_limit", 5000, "at most 4,096"),
        ("max_new_tokens", 33, "at most 32"),
        ("min_new_tokens", 33, "at most 32"),
        ("max_length", 2**31, "2147483647"),
        ("timeout", 0.01, "greater than or equal to 0.1"),
        ("nun_beams", 2, "did you mean num_beams?"),
        ("num_beams", True, "integer"),
        ("num_beams", "2", "integer"),
        ("long", "cut", "'chunk'"),
        ("length", "huge", "is no length"),
        ("length_penalty", -100.0, "greater than or equal to -10"),
        ("repetition_penalty", 5e-324, "greater than or equal to 0.01"),
        ("diversity_penalty", 5e-324, "greater than or equal to 0.01"),
        ("temperature", 5e-324, "greater than or equal to 0.0001"),
        ("seed", -1, "greater than or equal to 0"),
        ("documents", ["a"], "either `document`"),
        ("num_return_sequences", 5, "no such field"),
    ],
)
def test_fields_have_bounds(running, field, value, told):
    response = running.client.post("/v1/summarize", json={"document": TEXT, field: value})
    assert response.status_code == 422
    assert told in response.json()["error"]["message"]


def test_nan_is_no_number(running):
    head = {"Content-Type": "application/json"}
    body = b'{"document": "One two.", "length_penalty": NaN}'
    assert running.client.post("/v1/summarize", content=body, headers=head).status_code == 422


def test_too_many_documents_are_refused(running):
    response = running.client.post("/v1/summarize", json={"documents": ["One two."] * 65})
    assert response.status_code == 422
    assert response.json()["error"]["code"] == "too_many_documents"


def test_what_is_refused_is_not_repeated(running):
    canary = "secretword " * 3
    response = running.client.post("/v1/summarize", json={"document": [canary]})
    assert response.status_code == 422
    assert "secretword" not in response.text


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        (b"{", 400, "no JSON"),
        (b"[" * 100_000, 400, ""),
        (b"\xff\xfe", 400, ""),
        (b"[]", 422, "JSON object"),
        (b"", 422, ""),
    ],
)
def test_a_body_that_is_no_object_is_refused(running, body, status, told):
    response = running.client.post(
        "/v1/summarize", content=body, headers={"Content-Type": "application/json"}
    )
    assert response.status_code == status
    assert told in response.json()["error"]["message"]


def test_halves_of_characters_come_back_as_they_came(running):
    body = b'{"document": "One \\ud800 two three. Four five."}'
    response = running.client.post(
        "/v1/summarize", content=body, headers={"Content-Type": "application/json"}
    )
    assert response.status_code in (200, 422)
    json.loads(response.content)


def test_words_come_before_the_whole_where_one_beam_writes(running):
    response = running.client.post("/v1/summarize", json={"document": TEXT, "stream": True})
    assert response.headers["content-type"].startswith("text/event-stream")
    told = events(response)
    names = [name for name, _ in told]
    assert names == ["words"] * (len(names) - 2) + ["summary", "end"]
    words = "".join(data["text"] for name, data in told if name == "words")
    assert len(names) > 4
    assert LEAD.startswith(words)
    assert told[-2][1]["summary"] == LEAD
    assert told[-1][1]["usage"] == {"input_tokens": 11, "summary_tokens": 6}


@pytest.mark.parametrize("setting", [{"num_beams": 2}, {"length": 4}, {"sentences": 1}])
def test_where_words_may_change_whole_documents_are_streamed(running, setting):
    documents = {"documents": [TEXT, "Six seven eight."], "stream": True, **setting}
    told = events(running.client.post("/v1/summarize", json=documents))
    assert sorted(name for name, _ in told) == ["end", "summary", "summary"]
    assert sorted(data["index"] for name, data in told if name == "summary") == [0, 1]


def test_chat_as_openai_has_it(running):
    message = {"role": "user", "content": [{"type": "text", "text": TEXT}]}
    answer = running.client.post(
        "/v1/chat/completions", json={"model": "lead", "messages": [message]}
    ).json()
    assert answer["object"] == "chat.completion"
    (choice,) = answer["choices"]
    assert choice["message"] == {"role": "assistant", "content": LEAD}
    assert choice["finish_reason"] == "stop"
    assert answer["usage"] == {"prompt_tokens": 11, "completion_tokens": 6, "total_tokens": 17}


@pytest.mark.parametrize("beams", [1, 4])
def test_chat_is_streamed(running, beams):
    body = {"model": "lead", "messages": [{"role": "user", "content": TEXT}], "stream": True}
    body |= {"stream_options": {"include_usage": True}, "num_beams": beams}
    told = [data for _, data in events(running.client.post("/v1/chat/completions", json=body))]
    assert told[-1] == "[DONE]"
    assert told[-2]["usage"]["total_tokens"] == 17
    deltas = [chunk["choices"][0]["delta"].get("content", "") for chunk in told[:-2]]
    assert "".join(deltas) == LEAD
    assert (len([delta for delta in deltas if delta]) > 1) == (beams == 1)
    assert told[-3]["choices"][0]["finish_reason"] == "stop"


def test_an_error_in_a_stream_is_told_in_it(running):
    body = {"model": "lead", "messages": [{"role": "user", "content": " "}], "stream": True}
    ((_, told),) = events(running.client.post("/v1/chat/completions", json=body))
    assert told["error"]["code"] == "bad_text"


def test_completions_as_openai_has_them(running):
    body = {"model": "lead", "prompt": [TEXT, "Six seven eight nine."], "max_tokens": 4}
    answer = running.client.post("/v1/completions", json=body).json()
    assert [choice["index"] for choice in answer["choices"]] == [0, 1]
    assert answer["choices"][1]["text"] == "Six seven"
    assert running.writer.asked[-1] == {"max_new_tokens": 4}


def test_a_temperature_draws_and_zero_searches(running):
    for temperature, told in (
        (0.5, {"temperature": 0.5, "do_sample": True, "num_beams": 1}),
        (0, {"do_sample": False}),
    ):
        body = {"model": "lead", "prompt": TEXT, "temperature": temperature}
        assert running.client.post("/v1/completions", json=body).status_code == 200
        assert running.writer.asked[-1] == told


@pytest.mark.parametrize(
    "field",
    [
        {"n": 2},
        {"tools": []},
        {"logprobs": True},
        {"stop": ["x"]},
        {"response_format": {"type": "json_object"}},
        {"messages": [{"role": "system", "content": "Be brief."}]},
        {"messages": [{"role": "user", "content": "a"}] * 2},
        {"presence_penalty": 1.0},
    ],
)
def test_what_cannot_be_honoured_is_refused(running, field):
    body = {"model": "lead", "messages": [{"role": "user", "content": TEXT}], **field}
    response = running.client.post("/v1/chat/completions", json=body)
    assert response.status_code == 422
    assert response.json()["error"]["param"].startswith(next(iter(field)))


def test_another_model_is_not_found(running):
    for path, body in (("/v1/completions", {"prompt": TEXT}), ("/v1/summarize", {"document": TEXT})):
        response = running.client.post(path, json={**body, "model": "gpt"})
        assert response.status_code == 404
        assert response.json()["error"]["code"] == "model_not_found"


def test_models_are_listed(running):
    assert [model["id"] for model in running.client.get("/v1/models").json()["data"]] == ["lead"]
    assert running.client.get("/v1/models/lead").json()["id"] == "lead"
    assert running.client.get("/v1/models/../../etc/passwd").status_code == 404


def test_huggingface_clients_summarize(running):
    client = InferenceClient(base_url=running.server.url)
    assert client.summarization(TEXT).summary_text == LEAD
    client.summarization(TEXT, generate_parameters={"max_new_tokens": 4}, truncation="only_first")
    assert running.writer.asked[-1] == {"max_new_tokens": 4}
    long = "One two three. " * 20
    assert client.summarization(long, truncation="only_first").summary_text.startswith("One two three.")
    with pytest.raises(Exception, match="422"):
        client.summarization(long, truncation="do_not_truncate")
    with pytest.raises(Exception, match="404"):
        InferenceClient(model=f"{running.server.url}/models/other").summarization(TEXT)


def test_several_inputs_in_the_inference_form(running):
    body = {"inputs": [TEXT, "Six seven eight nine."], "parameters": {"num_beams": 2}}
    answer = running.client.post("/models/lead", json=body).json()
    assert answer == [{"summary_text": LEAD}, {"summary_text": "Six seven"}]


def test_the_server_says_what_it_is(running):
    info = running.client.get("/info").json()
    assert (info["model"], info["input_tokens"], info["num_beams"]) == ("lead", 32, 1)
    assert info["limits"]["documents"] == 64


def test_metrics_are_prometheus(running):
    running.client.post("/v1/summarize", json={"document": TEXT})
    running.client.get("/v1/models/a-name-that-nobody-else-asks-for")
    running.client.get("/nowhere/at/all")
    text = running.client.get("/metrics").text
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["pegasus_requests_total", ("route", "/v1/summarize"), ("status", "200")] >= 1
    assert samples["pegasus_requests_total", ("route", "other"), ("status", "404")] >= 1
    assert samples["pegasus_ended_total", ("end", "summary")] >= 1
    assert samples["pegasus_texts",] == 0
    assert "nobody" not in text


def test_operators_can_look_up_every_metric(running):
    page = (Path(__file__).resolve().parents[2] / "docs" / "operations.md").read_text("utf-8")
    for family in text_string_to_metric_families(running.client.get("/metrics").text):
        samples = {sample.name for sample in family.samples if not sample.name.endswith("_created")}
        named = {family.name} if family.type == "histogram" else samples
        assert [name for name in named if f"`{name}" not in page] == []


def test_the_interface_describes_itself(running):
    described = running.client.get("/openapi.json").json()
    assert set(described["paths"]) == {
        *("/", "/models/{name}", "/v1/summarize", "/v1/chat/completions", "/v1/completions"),
        *("/v1/models", "/v1/models/{name}", "/info", "/metrics", "/healthz", "/readyz"),
    }
    responses = described["paths"]["/v1/summarize"]["post"]["responses"]
    assert {"200", "400", "401", "403", "408", "413", "422", "429", "500", "503", "504"} <= set(responses)


ASKED = [
    ("/v1/summarize", {"document": TEXT, "explain": True, "faithful": "words"}, "SummaryAnswer"),
    ("/v1/summarize", {"document": "One two three. " * 20}, "SummaryAnswer"),
    ("/v1/summarize", {"documents": [TEXT, " "]}, "SummariesAnswer"),
    ("/v1/summarize", {"document": " "}, "ErrorBody"),
    (
        "/v1/chat/completions",
        {"model": "lead", "messages": [{"role": "user", "content": TEXT}]},
        "ChatAnswer",
    ),
    ("/v1/completions", {"model": "lead", "prompt": [TEXT, TEXT]}, "CompletionAnswer"),
    ("/healthz", None, "Health"),
    ("/readyz", None, "Readiness"),
    ("/info", None, "Info"),
    ("/v1/models", None, "ModelList"),
    ("/v1/models/lead", None, "ModelCard"),
    ("/v1/models/other", None, "ErrorBody"),
]


@pytest.mark.parametrize(("path", "body", "form"), ASKED)
def test_answers_have_the_forms_that_are_described(running, path, body, form):
    client = running.client
    answer = client.get(path) if body is None else client.post(path, json=body)
    getattr(answers, form).model_validate(answer.json())
    paths = client.get("/openapi.json").json()["paths"]
    described = paths[path.replace("/lead", "/{name}").replace("/other", "/{name}")]
    content = described["get" if body is None else "post"]["responses"][str(answer.status_code)]["content"]
    assert f"/{form}" in json.dumps(content["application/json"])


def test_the_inference_form_and_metrics_are_described(running):
    paths = running.client.get("/openapi.json").json()["paths"]
    schema = paths["/"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert (schema["type"], schema["items"]) == ("array", {"$ref": "#/components/schemas/PipelineSummary"})
    (answer,) = running.client.post("/", json={"inputs": TEXT}).json()
    answers.PipelineSummary.model_validate(answer)
    assert list(paths["/metrics"]["get"]["responses"]["200"]["content"]) == ["text/plain"]


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [("/v1/summarize", "GET", 405), ("/no", "GET", 404), ("/docs", "GET", 404)],
)
def test_other_paths_and_methods(running, path, method, status):
    response = running.client.request(method, path)
    assert response.status_code == status
    assert response.json()["error"]["message"]


def test_a_request_has_an_id(running):
    assert running.client.get("/healthz", headers={"X-Request-Id": "a-1"}).headers["X-Request-Id"] == "a-1"
    made = running.client.get("/healthz", headers={"X-Request-Id": "no spaces"}).headers["X-Request-Id"]
    assert len(made) == 32
