"""The page in a real browser: what it shows, whom it asks, and what does not run."""

from __future__ import annotations

import json
import re
import threading
from dataclasses import replace

import pytest

from pegasus.serving.options import Keys, ServeOptions
from pegasus.serving.page_routes import PAGE_FILES

KEY = "a-key-of-more-than-sixteen"
TEXT = "One two three four. Five six seven eight. Nine ten eleven twelve."
LEAD = "One two three four. Five six"


@pytest.fixture(scope="module")
def running(module_serving, module_stepped):
    with module_serving(writer=module_stepped(limit=64)) as one:
        yield one


@pytest.fixture(scope="module")
def locked(module_serving):
    with module_serving(ServeOptions(port=0, keys=Keys.of([KEY]))) as one:
        yield one


@pytest.fixture
def there(visit, running):
    """The page, with a server that is ready."""
    return visit().open(running.server.url).wait_until_ready()


# -- the files -------------------------------------------------------------------------------------------


def test_anybody_may_read_the_page_and_nobody_asks_without_a_key(locked):
    for path, (name, kind) in PAGE_FILES.items():
        for method in ("GET", "HEAD"):
            response = locked.client.request(method, path)
            assert (name, response.status_code, response.headers["content-type"]) == (name, 200, kind)
            assert "default-src 'none'" in response.headers["content-security-policy"]
            assert response.headers["x-frame-options"] == "DENY"
        assert locked.client.post(path).status_code == 401
    assert locked.client.get("/page/../guard.py").status_code == 401
    assert locked.client.get("/healthz").json() == {"status": "ok", "state": "ready", "key_needed": True}


def test_the_files_name_no_other_machine_and_hold_no_script_or_style_in_markup(running):
    told = {path: running.client.get(path).text for path in PAGE_FILES}
    assert "http" not in re.sub(
        r"http://www\.w3\.org/2000/svg|https?://localhost", "", "".join(told.values())
    )
    assert not re.search(r"\son\w+=|\sstyle=|<style|<script(?! src)", told["/"])
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b", told["/page/page.js"]
    )


def test_unknown_files_are_not_there(running):
    for path in ("/page/", "/page/other.js", "/page/%2e%2e/guard.py", "/index.html"):
        assert running.client.get(path).status_code == 404


# -- a summary -------------------------------------------------------------------------------------------


def test_a_summary_comes_without_a_word_in_the_console(there, running):
    assert there.write(TEXT).summarize() == LEAD
    assert there.said == []
    assert all(url.startswith(running.server.url) for url in there.asked)
    assert "Read 13 of 13 tokens: nothing cut." in there.page.text_content(".read")
    assert "6 words · 7 tokens" in there.page.text_content(".facts")


def test_the_summary_appears_as_it_is_written(there, running):
    calls, reached, go_on = [], threading.Event(), threading.Event()

    def pass_gate():
        calls.append(1)
        if len(calls) == 4:
            reached.set()
            assert go_on.wait(20)

    running.writer.pass_gate = pass_gate
    try:
        there.write(TEXT).page.click("#go")
        assert reached.wait(20)
        there.page.wait_for_selector("text=One two")
        summary = there.page.locator(".summary")
        assert summary.text_content() == "One two"
        assert summary.get_attribute("aria-busy") == "true"
        assert summary.get_attribute("aria-live") == "polite"
    finally:
        go_on.set()
        del running.writer.pass_gate
    there.page.wait_for_selector(".done:visible")
    assert summary.text_content() == LEAD
    assert summary.get_attribute("aria-busy") == "false"


def test_who_stops_waiting_frees_the_model(there, running):
    running.writer.shut_gate()
    try:
        there.write(TEXT).page.click("#go")
        running.wait_until_computing()
        there.page.click("#cancel")
    finally:
        running.writer.gate.set()
    there.page.wait_for_selector("#cancel", state="hidden")
    running.wait_for_texts(0)
    assert there.page.is_hidden(".wrong:not(:empty)")
    assert there.summarize() == LEAD


def test_a_sentence_marks_what_it_leans_on(there):
    # Characters beyond the first plane count once for the server and twice for a browser.
    there.write(f"\U0001f41d\U0001f41d bees. {TEXT}").summarize()
    sentences = there.page.locator(".sentence")
    assert sentences.all_text_contents() == ["\U0001f41d\U0001f41d bees.", "One two three four.", "Five"]
    sentences.nth(1).hover()
    assert there.page.locator("mark.first").text_content() == "One two three four."
    assert sentences.nth(1).get_attribute("aria-pressed") == "true"
    assert "One two three four." in there.page.locator(".evidence li").first.text_content()
    sentences.nth(2).focus()
    assert there.page.locator("mark.first").text_content() == "Five six seven eight."
    assert sentences.nth(1).get_attribute("aria-pressed") == "false"
    there.page.click("#edit")
    assert there.page.input_value("#document").endswith(TEXT)


def test_what_was_cut_is_said(there):
    there.write("One two three four five. " * 30).choose("long", "truncate").summarize()
    assert "Read 64 of 151 tokens: 87 cut." in there.page.text_content(".read")


def test_warnings_are_shown(there, running):
    facts = running.server.room.facts
    running.server.room.facts = replace(facts, settings=facts.settings.changed(check=True))
    number = running.summarizer.reader.encode(["Smithsonia 77"])[0][:2]
    running.writer.says = lambda job: (*job.tokens[:3], *number)
    try:
        there.write(TEXT).summarize()
    finally:
        running.writer.says = None
        running.server.room.facts = facts
    told = there.page.locator(".warnings li").all_text_contents()
    assert told == ["numbers: not in the text: 77", "names: not in the text: Smithsonia"]


def test_two_settings_side_by_side(there, running):
    there.write(TEXT).page.click("#compare")
    there.choose("num_beams", "2").choose("length", "words", "b")
    there.page.fill("#b-amount", "4")
    asked = []
    there.page.on("request", lambda request: asked.append(request.post_data_json))
    there.page.click("#go")
    there.page.wait_for_selector("[aria-label='Summary with Setting B'] .done:visible")
    there.page.wait_for_selector("[aria-label='Summary with Setting A'] .done:visible")
    first, second = asked
    assert (first["num_beams"], "length" in first, "faithful" in first) == (2, False, False)
    assert (second["length"], "num_beams" in second, second["faithful"]) == (4, False, "words")
    told = there.page.locator(".summary").all_text_contents()
    assert told == [LEAD, "One two three four."]
    assert "Faithful to words" in there.page.locator(".prevented").nth(1).text_content()
    there.page.click("#compare")
    assert there.page.locator(".variant, .result").count() == 2


def test_copy_and_download(visit, running):
    one = visit(permissions=["clipboard-read", "clipboard-write"])
    one.open(running.server.url).wait_until_ready().write(TEXT).summarize()
    one.page.click(".copy")
    one.page.wait_for_selector(".copy:text('Copied')")
    assert one.page.evaluate("navigator.clipboard.readText()") == LEAD
    for button, ending, content in ((".text", "txt", f"{LEAD}\n"), (".json", "json", None)):
        with one.page.expect_download() as waiting:
            one.page.click(button)
        assert waiting.value.suggested_filename == f"summary.{ending}"
        text = waiting.value.path().read_text("utf-8")
        assert text == content or json.loads(text)["summary"] == LEAD
    assert one.said == []


# -- documents -------------------------------------------------------------------------------------------


def test_files_are_opened_and_dropped(there):
    file = {"name": "a.txt", "mimeType": "text/plain"}
    there.page.set_input_files("#file", {**file, "buffer": "Élan one.".encode()})
    there.page.wait_for_selector("#size:has-text('2 words')")
    assert there.page.input_value("#document") == "Élan one."
    there.page.set_input_files("#file", {**file, "buffer": b"\xff\xfe\x00"})
    there.page.wait_for_selector("#size:has-text('a.txt is no text in UTF-8')")
    there.page.evaluate(
        """() => {
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File(["Dropped words here."], "b.txt"));
            document.dispatchEvent(new DragEvent("drop", { dataTransfer, cancelable: true }));
        }"""
    )
    there.page.wait_for_selector("#size:has-text('3 words')")
    assert there.page.input_value("#document") == "Dropped words here."


def test_markup_in_a_document_is_text(there):
    markup = "<script>window.ran=1</script> <img src=x onerror=window.ran=1> <b>bold.</b> "
    there.write(markup + TEXT).choose("length", "long")
    summary = there.summarize()
    assert summary.startswith(markup.strip())
    there.page.hover(".sentence")
    assert markup.strip() in there.page.text_content("#source")
    assert there.page.evaluate("window.ran") is None
    assert there.page.locator("main script, main img").count() == 0
    assert there.said == []


def test_the_policy_refuses_markup_whoever_writes_it(there):
    tried = """() => {
        try { document.body.innerHTML = "<b>x</b>"; return "taken"; } catch { return "refused"; }
    }"""
    assert there.page.evaluate(tried) == "refused"
    added = """() => new Promise((resolve) => {
        const image = new Image();
        image.onerror = () => resolve("refused");
        image.onload = () => resolve("taken");
        image.src = "data:image/gif;base64,R0lGODlhAQABAAAAACw=";
    })"""
    assert there.page.evaluate(added) == "refused"


# -- refusals --------------------------------------------------------------------------------------------


def test_refusals_are_shown_in_the_servers_words(there):
    there.write("One two three four five. " * 30).choose("long", "error").page.click("#go")
    there.page.wait_for_selector(".wrong:has-text('The text has 151 tokens and the model takes 64')")
    there.page.fill("#a-sentences", "1001")  # the form itself says that this is too many
    there.page.click("#go")
    assert there.page.evaluate("document.querySelector('#a-sentences').matches(':invalid')")


def test_a_full_server_says_when_to_come_back(visit, serving):
    with serving(ServeOptions(port=0, most_texts=1)) as one:
        there = visit().open(one.server.url).wait_until_ready().write(TEXT)
        one.writer.shut_gate()
        there.page.click("#compare")
        there.page.click("#go")
        there.page.wait_for_selector(
            ".wrong:has-text('at most 1 are taken: come back later. Try again in')"
        )
        one.writer.gate.set()
        there.page.wait_for_selector(".done:visible")


def test_a_document_that_is_too_large_is_not_sent(there):
    there.write("word " * 450_000).page.click("#go")
    there.page.wait_for_selector(".wrong:has-text('the server takes at most 2,000,000')")
    assert not any("summarize" in url for url in there.asked)


def test_a_server_that_has_gone_is_named(visit, serving):
    with serving() as one:
        there = visit().open(one.server.url).wait_until_ready().write(TEXT)
    there.page.click("#go")
    there.page.wait_for_selector(".wrong:has-text('The server cannot be reached')")


def test_a_key_is_asked_for_where_one_is_needed_and_kept_in_memory_alone(visit, locked):
    there = visit().open(locked.server.url)
    there.page.wait_for_selector("#keys:visible")
    assert there.said == []
    assert there.page.is_disabled("#go")
    there.page.fill("#key", "a-wrong-key-of-sixteen")
    there.page.keyboard.press("Enter")
    there.page.wait_for_selector("#key-error:has-text('A key is needed: send the header')")
    there.page.fill("#key", KEY)
    there.page.keyboard.press("Enter")
    there.page.wait_for_selector("#keys", state="hidden")
    there.wait_until_ready().write(TEXT).summarize()
    kept = "[localStorage.length, sessionStorage.length, document.cookie, location.href]"
    assert there.page.evaluate(kept) == [0, 0, "", f"{locked.server.url}/"]
    assert there.page.context.cookies() == []
    assert not any(KEY in url for url in there.asked)
    there.page.reload()
    there.page.wait_for_selector("#keys:visible")


def test_the_page_is_refused_without_a_key(visit, locked):
    there = visit().open(locked.server.url)
    asked = (
        """() => fetch("v1/summarize", { method: "POST", body: "{}" }).then((answer) => answer.status)"""
    )
    assert there.page.evaluate(asked) == 401


def test_pages_of_other_origins_are_refused(visit, running, locked):
    # Another port is another origin, and this path of it has no policy that would keep it from asking.
    there = visit().open(f"{locked.server.url}/healthz")
    answers = []
    there.page.on("response", lambda response: answers.append((response.url, response.status)))
    before = len(running.writer.asked)
    url = f"{running.server.url}/v1/summarize"
    asked = """([url, body, mode]) => fetch(url, { method: "POST", mode, body })
        .then((answer) => answer.type, () => "refused")"""
    body = json.dumps({"document": TEXT})
    assert there.page.evaluate(asked, [url, body, "cors"]) == "refused"
    there.page.evaluate(asked, [url, body, "no-cors"])
    assert (url, 403) in answers
    assert len(running.writer.asked) == before


def test_the_page_is_not_shown_within_another(visit, running, locked):
    there = visit().open(f"{locked.server.url}/healthz")
    added = """(url) => new Promise((resolve) => {
        const frame = Object.assign(document.createElement("iframe"), { src: url, onload: resolve });
        document.body.append(frame);
    })"""
    there.page.evaluate(added, running.server.url)
    assert len(there.page.frames) == 2
    assert there.page.frames[1].locator("#document").count() == 0


# -- hands, eyes and screens -----------------------------------------------------------------------------


def focused(there):
    name = "(one) => one.id || one.name || one.className || one.tagName"
    return there.page.evaluate(f"({name})(document.activeElement)")


def test_the_keyboard_alone_is_enough(there):
    press = there.page.keyboard.press
    there.page.evaluate("document.activeElement.blur()")
    press("Tab")
    assert focused(there) == "skip"
    press("Enter")
    assert focused(there) == "document"
    there.page.keyboard.type(TEXT)
    order = []
    for _ in range(6):
        press("Tab")
        order.append(focused(there))
    assert order == ["a-length", "a-num_beams", "a-faithful", "SUMMARY", "go", "compare"]
    press("Shift+Tab")
    press("Enter")
    there.page.wait_for_selector(".done:visible")
    assert "is being written" not in there.page.text_content(".summary")
    press("Tab")
    press("Tab")
    assert focused(there) == "sentence"
    assert there.page.locator("mark.first").text_content() == "One two three four."
    press("Tab")
    assert there.page.locator("mark.first").text_content() == "Five six seven eight."
    press("Tab")
    assert focused(there) == "quiet copy"
    there.page.focus("#edit")
    press("Enter")
    assert focused(there) == "document"
    press("Control+Enter")
    there.page.wait_for_selector(".done:visible")
    assert there.said == []


def test_every_control_has_a_name(there):
    there.page.click("#compare")
    there.write(TEXT).summarize()
    there.page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    nameless = """() => [...document.querySelectorAll("button, input, select, textarea, [tabindex='0']")]
        .filter((one) => one.checkVisibility())
        .filter((one) => !(one.labels?.length || one.textContent.trim() || one.ariaLabel))
        .map((one) => one.outerHTML)"""
    assert there.page.evaluate(nameless) == []
    ids = there.page.evaluate("[...document.querySelectorAll('[id]')].map((one) => one.id)")
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("width", [320, 360, 700, 1200])
def test_nothing_is_wider_than_its_screen(visit, running, width):
    there = visit(width=width, height=740).open(running.server.url).wait_until_ready()
    there.write(f"{'Long' * 90} {TEXT}").page.click("#compare")
    there.choose("length", "words").choose("length", "share", "b").summarize()
    there.page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    there.page.hover(".sentence")
    outside = """(width) => [...document.querySelectorAll("body *")]
        .filter((one) => one.checkVisibility() && !one.matches(".skip, .unseen, .progress *"))
        .filter((one) => one.getBoundingClientRect().right > width + 0.5)
        .map((one) => one.outerHTML.slice(0, 200))"""
    assert there.page.evaluate(outside, width) == []
    assert there.page.evaluate("document.documentElement.scrollWidth") <= width
    cut = """() => [...document.querySelectorAll("button, label, legend, p, h1, h2, h3, li, .switch span")]
        .filter((one) => one.checkVisibility() && !one.matches(".unseen") && one.clientWidth)
        .filter((one) => one.scrollWidth > one.clientWidth + 1)
        .map((one) => one.outerHTML.slice(0, 200))"""
    assert there.page.evaluate(cut) == []


def luminance(color):
    parts = [int(part) / 255 for part in re.findall(r"\d+", color)[:3]]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


READ = (
    "h1, .foot, .summary, .facts, .sentence, .warnings li, mark, .main, .quiet, .switch span, .evidence b, "
    "#state, textarea"
)
GROUNDS = """(read) => [...document.querySelectorAll(read)]
    .filter((one) => one.checkVisibility())
    .map((one) => {
        const see = (what) => getComputedStyle(what);
        let ground = one;
        while (see(ground).backgroundColor === "rgba(0, 0, 0, 0)") ground = ground.parentElement;
        return [one.className || one.tagName, see(one).color, see(ground).backgroundColor];
    })"""


def test_dark_and_light_can_be_read(visit, running):
    papers = []
    for scheme in ("light", "dark"):
        there = visit(color_scheme=scheme).open(running.server.url).wait_until_ready()
        there.write(TEXT).summarize()
        there.page.hover(".sentence")
        told = there.page.evaluate(GROUNDS, READ)
        assert len(told) > 15
        for name, ink, ground in told:
            light, dark = sorted((luminance(ink), luminance(ground)), reverse=True)
            assert (name, scheme, (light + 0.05) / (dark + 0.05) >= 4.5) == (name, scheme, True)
        papers.append(
            luminance(there.page.evaluate("getComputedStyle(document.documentElement).backgroundColor"))
        )
    assert papers[0] > 0.8
    assert papers[1] < 0.02
