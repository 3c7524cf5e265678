// The page: a document goes to /v1/summarize, and what comes back is shown. Whatever was sent or written by
// a model becomes text nodes, never markup. The key and the document are kept in memory alone.

const find = (selector, within = document) => within.querySelector(selector);
const number = new Intl.NumberFormat("en");
const main = {
  document: find("#document"), source: find("#source"), go: find("#go"), cancel: find("#cancel"),
  compare: find("#compare"), size: find("#size"), keys: find("#keys"), state: find("#state"),
};
const memory = { key: "", info: null, sent: "", running: 0, variants: [], marking: null };

/** What a server, or the way to it, has against a request. */
class Refusal extends Error {
  constructor(message, status = 0, wait = null) {
    super(message);
    this.status = status;
    this.wait = wait;
  }
}

// -- talking to the server ---------------------------------------------------------------------------

async function ask(path, options = {}) {
  const headers = { ...options.headers };
  if (memory.key) headers.Authorization = `Bearer ${memory.key}`;
  let response;
  try {
    response = await fetch(path, { ...options, headers, cache: "no-store", credentials: "omit" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal("The server cannot be reached: it has ended, or the way to it is closed.");
  }
  if (response.ok) return response;
  const body = await response.json().catch(() => null);
  const message = body?.error?.message ?? `The server answered ${response.status}.`;
  throw new Refusal(message, response.status, response.headers.get("Retry-After"));
}

/** Yields [name, content] of each event of a stream as it comes. */
async function* eventsOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read().catch((error) => {
      throw error.name === "AbortError" ? error : new Refusal("The connection broke off.");
    });
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split("\n").map((line) => {
        const colon = line.indexOf(": ");
        return [line.slice(0, colon), line.slice(colon + 2)];
      }));
      yield [fields.event, JSON.parse(fields.data)];
    }
  }
}

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Waits until the server takes documents, asks for a key where it wants one, and reads its limits. */
async function connect() {
  for (;;) {
    const health = await ask("healthz").then((response) => response.json()).catch(() => null);
    showState(health?.state ?? "not reached");
    if (health?.key_needed && !memory.key) return askForKey();
    if (health?.state === "ready") break;
    await pause(1000);
  }
  try {
    memory.info = await (await ask("info")).json();
  } catch (error) {
    if (error.status === 401) return askForKey(error.message);
    showState(error.message);
    return undefined;
  }
  main.keys.hidden = true;
  showInfo();
  return undefined;
}

function askForKey(message = "") {
  main.keys.hidden = false;
  find("#key-error").textContent = message;
  showState("key needed");
  find("#key").focus();
}

function showState(state) {
  main.state.textContent = state;
  main.state.dataset.state = state;
}

function showInfo() {
  const { model, device, dtype } = memory.info;
  find("#model").textContent = [model, device, dtype].filter(Boolean).join(" · ");
  for (const variant of memory.variants) variant.allow(memory.info);
  showSize();
}

// -- one setting and what it writes --------------------------------------------------------------------

class Variant {
  constructor(letter) {
    this.letter = letter;
    this.form = find("#variant").content.cloneNode(true).firstElementChild;
    this.card = find("#result").content.cloneNode(true).firstElementChild;
    this.summary = find(".summary", this.card);
    this.answer = null;
    for (const label of this.form.querySelectorAll("[data-for]")) {
      const control = find(`[name="${label.dataset.for}"]`, this.form);
      control.id = label.htmlFor = `${letter}-${control.name}`;
    }
    for (const radio of this.form.querySelectorAll("[type=radio]")) radio.name = `${letter}-faithful`;
    this.field("amount").id = `${letter}-amount`;
    this.field("amount").setAttribute("aria-label", "how many");
    this.field("length").addEventListener("change", () => this.showAmount());
    find(".copy", this.card).addEventListener("click", (event) => copy(this.answer.summary, event.target));
    find(".text", this.card).addEventListener("click", () => this.save("txt", this.answer.summary + "\n"));
    find(".json", this.card).addEventListener("click", () => this.save("json", JSON.stringify(this.answer, null, 2) + "\n"));
    find("#variants").append(this.form);
    find("#results").append(this.card);
  }

  field(name) { return find(`[name="${name}"]`, this.form); }

  call(title) {
    find("legend", this.form).textContent = title;
    find("h2", this.card).textContent = title;
    if (title) this.card.setAttribute("aria-label", `Summary with ${title}`);
  }

  /** Offers what the server allows, and no more. */
  allow({ num_beams: own, limits }) {
    const beams = this.field("num_beams");
    const chosen = beams.value;
    const counts = Array.from({ length: limits.num_beams }, (_, index) => index + 1);
    beams.replaceChildren(new Option(`model's own (${own})`, ""));
    for (const count of counts) beams.add(new Option(count === 1 ? "1, live" : count, count));
    beams.value = counts.includes(Number(chosen)) ? chosen : "";
  }

  showAmount() {
    const kind = this.field("length").value;
    const counted = kind === "words" || kind === "share";
    find(".amount", this.form).hidden = !counted;
    if (!counted) return;
    find(".unit", this.form).textContent = kind === "words" ? "words" : "%";
    this.field("amount").value = kind === "words" ? 60 : 20;
  }

  /** The settings that are named; the others are the model's own. */
  settings() {
    const named = { long: this.field("long").value, explain: this.field("explain").checked };
    const length = this.field("length").value;
    const amount = this.field("amount").valueAsNumber;
    if (length === "words") named.length = amount;
    else if (length === "share") named.length = `${amount}%`;
    else if (length) named.length = length;
    const faithful = find("[type=radio]:checked", this.form).value;
    if (faithful) named.faithful = faithful;
    for (const name of ["num_beams", "sentences", "length_penalty", "no_repeat_ngram_size"]) {
      if (this.field(name).value !== "") named[name] = Number(this.field(name).value);
    }
    return named;
  }

  async run(text) {
    this.begin();
    try {
      const body = JSON.stringify({ document: text, stream: true, ...this.settings() });
      refuseTooLarge(body);
      const headers = { "Content-Type": "application/json" };
      const signal = this.stopper.signal;
      await this.hear(await ask("v1/summarize", { method: "POST", body, headers, signal }), text);
    } catch (error) {
      this.fail(error);
    }
    this.card.setAttribute("aria-busy", "false");
    this.summary.setAttribute("aria-busy", "false");
  }

  begin() {
    this.answer = null;
    this.stopper = new AbortController();
    this.card.hidden = false;
    this.card.setAttribute("aria-busy", "true");
    this.summary.setAttribute("aria-busy", "true"); // read out when it is whole, not word by word
    this.summary.replaceChildren();
    find(".wrong", this.card).textContent = "";
    find(".done", this.card).hidden = true;
  }

  async hear(response, text) {
    for await (const [name, content] of eventsOf(response)) {
      if (name === "words") this.summary.append(content.text);
      else if (name === "summary") this.show(content, text);
      else if (name === "error") throw new Refusal(content.error.message);
    }
    if (this.answer === null) throw new Refusal("The connection ended before the summary was there.");
  }

  fail(error) {
    if (error.name === "AbortError") {
      tell("Stopped.");
      this.card.hidden = !this.summary.textContent;
      return;
    }
    if (!(error instanceof Refusal)) throw error;
    if (error.status === 401) askForKey(error.message);
    const wait = error.wait === null ? "" : ` Try again in ${error.wait} s.`;
    find(".wrong", this.card).textContent = error.message + wait;
  }

  show(answer, text) {
    this.answer = answer;
    const leaning = answer.explanation ?? [];
    this.summary.replaceChildren(...this.sentences(answer.summary, leaning, text));
    find(".evidence", this.card).hidden = true;
    find(".advice", this.card).hidden = leaning.length === 0;
    find(".warnings", this.card).replaceChildren(...answer.warnings.map(warningItem));
    find(".prevented", this.card).textContent = preventedLine(answer, this.settings().faithful);
    this.showRead(answer);
    find(".facts", this.card).textContent = factsLine(answer);
    find(".done", this.card).hidden = false;
  }

  /** The summary as text nodes, each sentence that leans on something in an element of its own. */
  sentences(summary, leaning, text) {
    const nodes = [];
    let at = 0;
    for (const { sentence, support } of leaning) {
      const begin = summary.indexOf(sentence, at);
      if (begin < 0 || support.length === 0) continue;
      const made = Object.assign(document.createElement("span"), { className: "sentence", tabIndex: 0, textContent: sentence });
      made.setAttribute("role", "button");
      made.setAttribute("aria-pressed", "false");
      const light = () => this.light(made, support, text);
      for (const kind of ["mouseenter", "focus", "click"]) made.addEventListener(kind, light);
      made.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        light();
      });
      nodes.push(summary.slice(at, begin), made);
      at = begin + sentence.length;
    }
    return [...nodes, summary.slice(at)];
  }

  /** Marks in the document what a sentence leans on, and lists it below the summary. */
  light(made, support, text) {
    if (memory.marking === made) return;
    unmark();
    memory.marking = made;
    made.setAttribute("aria-pressed", "true");
    const list = find(".evidence ol", this.card);
    list.replaceChildren(...support.map(({ share, text: quoted }) => {
      const item = document.createElement("li");
      const part = Object.assign(document.createElement("b"), { textContent: `${Math.round(100 * share)} %` });
      item.append(part, Object.assign(document.createElement("span"), { textContent: quoted }));
      return item;
    }));
    list.parentElement.hidden = false;
    find(".advice", this.card).hidden = true;
    showSource(text, support);
  }

  showRead({ input_tokens: all, used_tokens: used, long, chunks, merged }) {
    const cut = all - used;
    let line = `Read ${number.format(used)} of ${number.format(all)} tokens: nothing cut.`;
    if (cut > 0) line = `Read ${number.format(used)} of ${number.format(all)} tokens: ${number.format(cut)} cut.`;
    if (long === "chunk") {
      line += ` In ${counted(chunks.length, "piece")}`;
      line += merged ? `, whose summaries were summarized again${merged > 1 ? ` ${merged} times` : ""}.` : ", whose summaries were joined.";
    }
    find(".read p", this.card).textContent = line;
    find(".bar span", this.card).style.width = `${(100 * used) / Math.max(1, all)}%`;
  }

  save(ending, content) {
    const address = URL.createObjectURL(new Blob([content], { type: "text/plain;charset=utf-8" }));
    const name = memory.variants.length > 1 ? `summary-${this.letter}.${ending}` : `summary.${ending}`;
    Object.assign(document.createElement("a"), { href: address, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  }
}

// -- what a summary is told with --------------------------------------------------------------------------

const counted = (count, what) => `${number.format(count)} ${what}${count === 1 ? "" : "s"}`;

function warningItem(warning) {
  const item = document.createElement("li");
  const colon = warning.indexOf(":");
  item.append(Object.assign(document.createElement("b"), { textContent: warning.slice(0, colon) }), warning.slice(colon));
  return item;
}

function preventedLine({ prevented = 0 }, faithful) {
  if (faithful === "off" || (!faithful && prevented === 0)) return "";
  const held = faithful ? `Faithful to ${faithful}` : "Faithful";
  if (prevented === 0) return `${held}: nothing had to be prevented.`;
  const often = prevented === 1 ? "once" : `${number.format(prevented)} times`;
  return `${held}: the model was kept ${often} from writing what the text does not bear out.`;
}

function factsLine({ summary, summary_tokens: tokens, seconds, finish_reason: reason, cut }) {
  const words = summary.split(/\s+/).filter(Boolean).length;
  const end = reason === "length" ? (cut ? "cut by its limit" : "ended at its limit") : "";
  return [counted(words, "word"), counted(tokens, "token"), `${seconds.toFixed(2)} s`, end].filter(Boolean).join(" · ");
}

function tell(message) { find("#status").textContent = message; }

// -- the document -----------------------------------------------------------------------------------------

function refuseTooLarge(body) {
  const most = memory.info.limits.body_bytes;
  const size = new Blob([body]).size;
  if (size > most) throw new Refusal(`This document takes ${number.format(size)} bytes; the server takes at most ${number.format(most)}.`);
}

function showSize() {
  const text = main.document.value;
  const words = text.trim() ? text.trim().split(/\s+/).length : 0;
  const size = text ? `${counted(words, "word")}, ${counted(text.length, "character")}. ` : "";
  const reads = memory.info ? `The model reads ${number.format(memory.info.input_tokens)} tokens at once.` : "";
  main.size.textContent = size + reads;
  main.go.disabled = !words || !memory.info || memory.running > 0;
}

/** Shows what was read in the place of the field, with what is leant on marked: strongest first. */
function showSource(text, support = []) {
  const characters = Array.from(text); // the server counts characters, not halves of them
  const kinds = new Map(support.map((one, rank) => [one, ["first", "second", "third"][rank] ?? "third"]));
  const nodes = [];
  let at = 0;
  for (const one of [...support].sort((a, b) => a.start - b.start)) {
    const within = characters.slice(one.start, one.end).join("");
    const made = Object.assign(document.createElement("mark"), { className: kinds.get(one), textContent: within.trimEnd() });
    nodes.push(characters.slice(at, one.start).join(""), made, within.slice(within.trimEnd().length));
    at = one.end;
  }
  main.source.replaceChildren(...nodes, characters.slice(at).join(""));
  setReading(true);
  const first = find("mark.first", main.source);
  if (first) main.source.scrollTop = first.offsetTop - main.source.clientHeight / 3;
}

function setReading(reading) {
  main.source.hidden = !reading;
  main.document.hidden = reading;
  find("#edit").hidden = !reading;
}

function unmark() {
  memory.marking?.setAttribute("aria-pressed", "false");
  memory.marking = null;
}

function edit() {
  unmark();
  setReading(false);
  main.document.focus();
}

function put(text) {
  main.document.value = text;
  edit();
  main.document.setSelectionRange(0, 0);
  main.document.scrollTop = 0;
  showSize();
}

async function read(file) {
  try {
    put(new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer()));
    tell(`${file.name} was read.`);
  } catch {
    main.size.textContent = `${file.name} is no text in UTF-8: save it as plain text first.`;
    tell(main.size.textContent);
  }
}

async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch { // pages that came without TLS from another machine may not
    const field = Object.assign(document.createElement("textarea"), { value: text });
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
    button.focus();
  }
  tell("Copied.");
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
}

// -- what people do ---------------------------------------------------------------------------------------

async function summarize() {
  const text = main.document.value;
  if (main.go.disabled) return;
  unmark();
  setBusy(memory.variants.length);
  tell("The summary is being written.");
  await Promise.all(memory.variants.map((variant) => variant.run(text).finally(() => setBusy(memory.running - 1))));
}

function setBusy(running) {
  memory.running = running;
  main.cancel.hidden = running === 0;
  showSize();
}

function compare() {
  const two = memory.variants.length === 1;
  if (two) memory.variants.push(new Variant("b"));
  else {
    const gone = memory.variants.pop();
    gone.stopper?.abort();
    gone.form.remove();
    gone.card.remove();
  }
  const [first, second] = memory.variants;
  first.call(two ? "Setting A" : "");
  second?.call("Setting B");
  for (const list of ["#variants", "#results"]) find(list).classList.toggle("two", two);
  main.compare.setAttribute("aria-pressed", String(two));
  if (memory.info) second?.allow(memory.info);
  if (second) find("[value=words][type=radio]", second.form).checked = true;
}

function begin() {
  memory.variants = [new Variant("a")];
  find("#ask").addEventListener("submit", (event) => { event.preventDefault(); summarize(); });
  main.keys.addEventListener("submit", (event) => {
    event.preventDefault();
    memory.key = find("#key").value.trim();
    connect();
  });
  main.document.addEventListener("input", showSize);
  main.compare.addEventListener("click", compare);
  main.cancel.addEventListener("click", () => memory.variants.forEach((variant) => variant.stopper?.abort()));
  find("#edit").addEventListener("click", edit);
  find("#example").addEventListener("click", () => put(find("#sample").content.textContent));
  find("#open").addEventListener("click", () => find("#file").click());
  find("#file").addEventListener("change", (event) => {
    if (event.target.files.length) read(event.target.files[0]);
    event.target.value = ""; // so that the same file can be opened again
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) find("#ask").requestSubmit(main.go.disabled ? null : main.go);
    if (event.key === "Escape" && memory.running) main.cancel.click();
  });
  listenForFiles(find("#sheet"));
  showSize();
  connect();
}

function listenForFiles(sheet) {
  const carries = (event) => event.dataTransfer?.types.includes("Files");
  for (const kind of ["dragenter", "dragover"]) {
    document.addEventListener(kind, (event) => {
      if (!carries(event)) return;
      event.preventDefault();
      sheet.classList.add("dropping");
    });
  }
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) sheet.classList.remove("dropping"); });
  document.addEventListener("drop", (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    sheet.classList.remove("dropping");
    read(event.dataTransfer.files[0]);
  });
}

begin();
