// The page shows what the gateway tells as it happens. What meters say is never
// markup: it is set as text.

const byId = (id) => document.getElementById(id);
const few = 8; // values that a card shows at first
const cards = new Map(); // a meter's name → its card

function element(tag, text, className) {
  const e = document.createElement(tag);
  if (text !== undefined) e.textContent = text;
  if (className) e.className = className;
  return e;
}

function setText(e, text) {
  if (e.textContent !== text) e.textContent = text; // screen readers hear changes only
}

function ago(time) {
  if (!time) return "none yet";
  const seconds = Math.max(0, Math.round((Date.now() - Date.parse(time)) / 1000));
  if (seconds < 120) return `${seconds} s ago`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min ago`;
  return `${Math.round(seconds / 3600)} h ago`;
}

// The gateway as a whole.

function showGateway(g) {
  let text = "The broker is connected.";
  let bad = false;
  if (g.problem) {
    [text, bad] = [`The gateway must be restarted: ${g.problem}.`, true];
  } else if (!g.broker) {
    [text, bad] = ["The broker is away. Readings wait until it is back; the log says why.", true];
  }
  if (g.journal.waiting > 0) text += ` ${g.journal.waiting} readings wait.`;
  if (g.journal.dropped > 0) text += ` ${g.journal.dropped} readings were lost for want of room.`;
  const line = byId("gateway");
  setText(line, `${text} Version ${g.version}.`);
  line.classList.toggle("bad", bad);
}

// Meters.

function newCard(name) {
  const card = byId("meter").content.firstElementChild.cloneNode(true);
  card.dataset.meter = name;
  const title = card.querySelector("h2");
  title.id = `title-${name}`;
  card.setAttribute("aria-labelledby", title.id);
  const more = card.querySelector(".more");
  more.addEventListener("click", () => {
    card.classList.toggle("all");
    fold(card);
  });
  card.querySelector(".refused").addEventListener("click", () => showFrames(name));
  return card;
}

function fold(card) {
  const rows = [...card.querySelectorAll(".values tbody tr")];
  const all = card.classList.contains("all");
  rows.forEach((row, i) => { row.hidden = !all && i >= few; });
  const more = card.querySelector(".more");
  more.hidden = rows.length <= few;
  more.setAttribute("aria-expanded", String(all));
  setText(more, all ? "Show fewer values" : `Show all ${rows.length} values`);
}

function showMeter(card, status, meter) {
  setText(card.querySelector("h2"), status.label || status.name);
  const state = card.querySelector(".state");
  setText(state, status.online ? "online" : "offline");
  state.classList.toggle("online", status.online);
  const id = meter.identity;
  const who = [id.manufacturer, id.model, id.id, id.medium].filter(Boolean).join(" ");
  setText(card.querySelector(".identity"), [`${status.name}: ${status.driver} on ${meter.port}`, who].filter(Boolean).join(" · "));
  showValues(card, meter.values);
  showTrend(card.querySelector(".trend"), meter.trend);
  showQuality(card.querySelector(".quality"), status, meter);
  card.querySelector(".refused").hidden = meter.frames === 0;
  showParameters(card.querySelector(".parameters"), status.name, meter.parameters || []);
}

function showValues(card, values) {
  const body = card.querySelector(".values tbody");
  const rows = new Map([...body.rows].map((row) => [row.dataset.key, row]));
  values.forEach((v, i) => {
    let row = rows.get(v.key);
    rows.delete(v.key);
    if (!row) {
      row = element("tr");
      row.dataset.key = v.key;
      row.title = v.key;
      const head = element("th");
      head.scope = "row";
      row.append(head, element("td"));
    }
    if (body.rows[i] !== row) body.insertBefore(row, body.rows[i] || null);
    setText(row.cells[0], v.of ? `${v.label} (${v.of})` : v.label);
    setText(row.cells[1], v.text === "" ? "unknown" : [v.text, v.unit].filter(Boolean).join(" "));
    row.cells[1].classList.toggle("long", v.text.length > 24);
  });
  rows.forEach((row) => row.remove());
  fold(card);
}

function showQuality(list, status, meter) {
  const refused = Object.entries(status.refused || {});
  const lost = refused.reduce((sum, [, n]) => sum + n, 0);
  const facts = [
    ["Line", [status.line, meter.session].filter(Boolean).join(", "), status.line !== "open"],
    ["Last telegram", ago(status.last), !status.online],
    ["Good", String(status.good), false],
    ["Refused", lost ? `${lost} (${refused.map(([why, n]) => `${why} ${n}`).join(", ")})` : "0", lost > 0],
  ];
  if (lost + status.good > 0) facts.push(["Damaged", `${((100 * lost) / (lost + status.good)).toFixed(1)} %`, lost > status.good / 20]);
  if (status.held_back) facts.push(["Held back", String(status.held_back), true]);
  if (status.round_trip) facts.push(["Round trip", `${(status.round_trip / 1e9).toFixed(2)} s`, false]);
  while (list.children.length > facts.length) list.lastChild.remove();
  facts.forEach(([name, text, bad], i) => {
    let group = list.children[i];
    if (!group) {
      group = element("div");
      group.append(element("dt"), element("dd"));
      list.append(group);
    }
    setText(group.children[0], name);
    setText(group.children[1], text);
    group.classList.toggle("bad", bad);
  });
}

// A sparkline: what is missing is a gap, not a zero.

function showTrend(figure, trend) {
  const points = (trend && trend.points) || [];
  const known = points.filter((p) => p !== null);
  figure.hidden = known.length < 2;
  if (figure.hidden) return;
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const x = (i) => ((300 * i) / (points.length - 1)).toFixed(1);
  const y = (p) => (high === low ? 30 : 56 - (52 * (p - low)) / (high - low)).toFixed(1);
  let line = "";
  let area = "";
  let start = -1;
  points.concat([null]).forEach((p, i) => {
    if (p !== null) {
      line += `${start < 0 ? "M" : "L"}${x(i)} ${y(p)}`;
      if (start < 0) start = i;
    } else if (start >= 0) {
      area += `M${x(start)} 60${points.slice(start, i).map((q, k) => `L${x(start + k)} ${y(q)}`).join("")}L${x(i - 1)} 60Z`;
      start = -1;
    }
  });
  figure.querySelector(".line").setAttribute("d", line);
  figure.querySelector(".area").setAttribute("d", area);
  const number = (p) => `${p.toLocaleString("en", { maximumFractionDigits: 2 })} ${trend.unit || ""}`.trim();
  const span = trend.every * (points.length - 1);
  const over = span >= 7200 ? `${Math.round(span / 3600)} hours` : `${Math.max(1, Math.round(span / 60))} minutes`;
  const words = `${trend.label}, last ${over}: ${number(low)} to ${number(high)}`;
  setText(figure.querySelector("figcaption"), words);
  figure.querySelector("svg").setAttribute("aria-label", words);
}

// Parameters that may be written.

function showParameters(box, meter, parameters) {
  const shape = JSON.stringify(parameters.map(({ text, ...rest }) => rest));
  if (box.dataset.shape !== shape) {
    box.dataset.shape = shape;
    box.replaceChildren(...parameters.map((p) => parameterForm(meter, p)));
  }
  parameters.forEach((p, i) => {
    const form = box.children[i];
    if (form.dataset.text === p.text) return;
    form.dataset.text = p.text || "";
    const field = form.elements.value;
    if (field && document.activeElement !== field && p.text) field.value = p.text;
  });
}

function parameterForm(meter, p) {
  const form = element("form");
  form.dataset.parameter = p.name;
  const title = p.name.replaceAll("_", " ");
  if (p.kind === "press") {
    form.append(element("span", title));
  } else {
    const label = element("label", p.unit ? `${title} (${p.unit})` : title);
    label.append(field(p));
    form.append(label);
  }
  const write = element("button", p.kind === "press" ? "Press" : "Write");
  write.type = "submit";
  write.setAttribute("aria-label", `${write.textContent} ${title}`);
  form.append(write);
  if (p.kind === "time") {
    const now = element("button", "Set to now");
    now.type = "button";
    now.addEventListener("click", () => send(form, meter, p.name, "now"));
    form.append(now);
  }
  const answer = element("p", undefined, "answer");
  answer.setAttribute("role", "status");
  form.append(answer);
  if (p.doc) form.title = p.doc;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(form, meter, p.name, p.kind === "press" ? "press" : form.elements.value.value);
  });
  return form;
}

function field(p) {
  const choices = p.kind === "bool" ? ["true", "false"] : p.options;
  const input = element(choices && choices.length ? "select" : "input");
  input.name = "value";
  input.required = true;
  if (input.tagName === "SELECT") {
    input.append(...choices.map((c) => new Option(c, c)));
  } else if (p.kind === "number") {
    input.inputMode = "decimal"; // text keeps every digit
    if (p.min !== undefined) input.placeholder = `${p.min} to ${p.max}`;
  } else if (p.length) {
    input.maxLength = p.length;
  }
  return input;
}

async function send(form, meter, parameter, value) {
  const answer = form.querySelector(".answer");
  const buttons = form.querySelectorAll("button");
  buttons.forEach((b) => { b.disabled = true; });
  answer.className = "answer";
  setText(answer, "Waiting for the meter…");
  try {
    const response = await post("command", { meter, parameter, value });
    const result = await response.json();
    const words = { true: "Written and read back", false: "Refused", null: "Nobody knows whether it was carried out" };
    setText(answer, [words[String(result.ok)], result.value === undefined ? "" : `: ${result.value}`, result.error ? `: ${result.error}` : ""].join(""));
    answer.classList.add(result.ok ? "good" : "bad");
  } catch (error) {
    setText(answer, error.message);
    answer.classList.add("bad");
  }
  buttons.forEach((b) => { b.disabled = false; });
}

async function post(path, body) {
  const response = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  if (!response.ok) throw new Error((await response.text()).trim());
  return response;
}

// Refused frames, byte by byte.

async function showFrames(meter) {
  const list = byId("frames-list");
  list.replaceChildren(element("p", "Loading…"));
  byId("frames").showModal();
  try {
    const response = await fetch(`frames?meter=${encodeURIComponent(meter)}`);
    if (!response.ok) throw new Error((await response.text()).trim());
    const frames = await response.json();
    list.replaceChildren(...(frames.length ? frames.map(frameOf) : [element("p", "None is remembered.")]));
    list.querySelector("tr.bad")?.scrollIntoView({ block: "center" });
  } catch (error) {
    list.replaceChildren(element("p", error.message, "bad"));
  }
}

function frameOf(f) {
  const box = element("section", undefined, "frame");
  const time = element("time", new Date(f.at).toLocaleString());
  time.dateTime = f.at;
  const when = element("p");
  when.append(time, ` · ${f.hex.length / 2} bytes`);
  box.append(element("h3", f.why), when);
  if (f.hint) box.append(element("p", f.hint));
  const table = element("table");
  const head = element("tr");
  for (const title of ["Byte", "Bytes", "What", "Says"]) {
    const cell = element("th", title);
    cell.scope = "col";
    head.append(cell);
  }
  table.createTHead().append(head);
  const body = table.createTBody();
  const spans = f.spans && f.spans.length ? f.spans : [{ offset: 0, length: f.hex.length / 2, name: "bytes" }];
  for (const s of spans) {
    const row = body.insertRow();
    row.classList.toggle("bad", Boolean(s.bad));
    row.append(
      element("td", String(s.offset)),
      element("td", f.hex.slice(2 * s.offset, 2 * (s.offset + s.length)).replace(/../g, "$& ").trim(), "bytes"),
      element("td", [...(s.in || []), s.name].join(" › ")),
      element("td", [s.text, s.value, s.fit ? `would fit: ${s.fit}` : ""].filter(Boolean).join(" · ")),
    );
  }
  const scroll = element("div", undefined, "scroll");
  scroll.tabIndex = 0;
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", "Bytes of the frame");
  scroll.append(table);
  box.append(scroll);
  return box;
}

// Searching a line.

function showScan(scanner, scan) {
  byId("scan").hidden = !scanner;
  if (!scanner) return;
  const form = byId("scan-form");
  const shape = JSON.stringify(scanner);
  if (form.dataset.shape !== shape) {
    form.dataset.shape = shape;
    form.elements.port.replaceChildren(...scanner.ports.map((p) => new Option(p, p)));
    form.elements.way.replaceChildren(new Option("every way", ""), ...scanner.ways.map((w) => new Option(w, w)));
  }
  const running = Boolean(scan) && scan.state === "progress";
  byId("scan-stop").hidden = !running;
  form.querySelector("button[type=submit]").disabled = running;
  const bar = byId("scan-progress");
  bar.hidden = !running;
  if (!scan) return;
  bar.value = scan.done;
  const found = `${scan.meters} found`;
  const words = {
    progress: `Searching ${scan.at || scan.port}: ${Math.round(100 * scan.done)} %, ${found}${scan.left ? `, about ${Math.ceil(scan.left / 60)} min left` : ""}.`,
    done: `The search has ended: ${found}.`,
    cancelled: `The search was stopped: ${found}.`,
    failed: `The search failed: ${scan.error}. ${found}.`,
  };
  setText(byId("scan-state"), words[scan.state] || "");
  const tables = byId("scan-found");
  setText(tables, scan.config || "");
  tables.hidden = !scan.config;
  byId("scan-copy").hidden = !scan.config;
}

byId("scan-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const { port, way } = event.target.elements;
  try {
    await post("scan", { port: port.value, ways: way.value ? [way.value] : [] });
  } catch (error) {
    setText(byId("scan-state"), error.message);
  }
});

byId("scan-stop").addEventListener("click", async () => {
  try {
    await post("scan", { cancel: true });
  } catch (error) {
    setText(byId("scan-state"), error.message);
  }
});

byId("scan-copy").addEventListener("click", async () => {
  const tables = byId("scan-found");
  try {
    await navigator.clipboard.writeText(tables.textContent);
    setText(byId("scan-copy"), "Copied");
  } catch {
    getSelection().selectAllChildren(tables); // without the right to copy, at least mark it
  }
});

// The stream. The browser connects again by itself.

function show(live) {
  showGateway(live.gateway);
  const gone = new Set(cards.keys());
  live.gateway.meters.forEach((status, i) => {
    gone.delete(status.name);
    let card = cards.get(status.name);
    if (!card) {
      card = newCard(status.name);
      cards.set(status.name, card);
      byId("meters").append(card);
    }
    showMeter(card, status, live.meters[i]);
  });
  for (const name of gone) {
    cards.get(name).remove();
    cards.delete(name);
  }
  showScan(live.scanner, live.scan);
}

const stream = new EventSource("live");
stream.addEventListener("message", (event) => show(JSON.parse(event.data)));
stream.addEventListener("error", () => {
  const line = byId("gateway");
  setText(line, "The gateway does not answer. What is below is the last that it said.");
  line.classList.add("bad");
});
