"use strict";
// Sorting, filtering, the choice of a run, and the examples behind a number. What a model said is set as
// textContent only, never as markup.

const pick = (root, what) => root.querySelector(what);
const all = (root, what) => [...root.querySelectorAll(what)];

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function sort(button) {
  const head = button.closest("th"), table = button.closest("table");
  const column = [...head.parentNode.children].indexOf(head);
  const descending = button.getAttribute("aria-sort") !== "descending" && head.classList.contains("n")
    || button.getAttribute("aria-sort") === "ascending";
  all(table, "th button").forEach((other) => other.removeAttribute("aria-sort"));
  button.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const body = table.tBodies[0], sign = descending ? -1 : 1;
  const rows = [...body.rows].map((row) => {
    const cell = row.cells[column];
    return [cell.dataset.key === undefined ? cell.textContent.trim() : cell.dataset.key, row];
  });
  const numeric = head.classList.contains("n");
  rows.sort(([a], [b]) => {
    if (a === "" || b === "") return (a === "") - (b === "");
    return sign * (numeric ? Number(a) - Number(b) : a.localeCompare(b));
  });
  body.append(...rows.map(([, row]) => row));
}

function filter(section, only) {
  const words = pick(section, "[data-filter]").value.toLowerCase();
  const level = pick(section, "[data-filter-level]").value;
  const rows = [...pick(section, "table").tBodies[0].rows];
  let left = 0;
  for (const row of rows) {
    const fits = (!level || row.dataset.level === level)
      && (only ? Object.entries(only).every(([name, value]) => row.dataset[name] === value) : true)
      && (!words || row.textContent.toLowerCase().includes(words));
    row.hidden = !fits;
    left += fits;
  }
  const also = only ? ` of ${Object.values(only).join(", ")}` : "";
  pick(section, "output").textContent = left === rows.length ? "" : `${left} of ${rows.length}${also}`;
}

function showTasks(main, level, only) {
  const section = pick(main, ".tasks");
  pick(section, "[data-filter]").value = "";
  pick(section, "[data-filter-level]").value = level;
  filter(section, only);
  section.scrollIntoView({ block: "start" });
}

function showRun(name) {
  const chosen = document.getElementById(name);
  if (!chosen || chosen.tagName !== "MAIN") return;
  all(document, "main").forEach((main) => { main.hidden = main !== chosen; });
  all(document, ".tabs a").forEach((tab) => {
    if (tab.hash === `#${name}`) tab.setAttribute("aria-current", "true");
    else tab.removeAttribute("aria-current");
  });
}

async function unpack(name) {
  const packed = Uint8Array.from(atob(document.getElementById(name).textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

const dialog = document.getElementById("examples");
const state = { data: null, found: [], shown: 0 };
const PAGE = 20;

async function openExamples(name, shots, template, which) {
  state.data = await unpack(name);
  pick(dialog, "h2").textContent = state.data.task;
  choices("[data-shots]", [...new Set(state.data.shown.map((one) => String(one.shots)))], shots, (s) => `${s}-shot`);
  const templates = [...new Set(state.data.shown.map((one) => one.template))];
  choices("[data-template]", ["*", ...templates], template === undefined ? "*" : template,
    (t) => (t === "*" ? "all" : t || "(unnamed)"));
  pick(dialog, "[data-which]").value = which || "";
  list();
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
}

function choices(what, values, chosen, words) {
  const select = pick(dialog, what);
  select.replaceChildren(...values.map((value) => {
    const option = element("option", "", words(value));
    option.value = value;
    return option;
  }));
  select.value = values.includes(chosen) ? chosen : values[0];
}

// Right or wrong; where two runs answered, won or lost by the second.
function verdict(one) {
  if (one.a) return one.b.score > one.a.score ? "won" : "lost";
  return one.score === null ? "" : one.score >= 0.5 ? "right" : "wrong";
}

function list() {
  const shots = pick(dialog, "[data-shots]").value, template = pick(dialog, "[data-template]").value;
  const which = pick(dialog, "[data-which]").value;
  const here = state.data.shown.filter((one) => String(one.shots) === shots);
  state.found = here.filter((one) => (template === "*" || one.template === template)
    && (!which || verdict(one) === which));
  state.shown = 0;
  pick(dialog, ".list").replaceChildren();
  const total = state.data.total[shots] || 0;
  pick(dialog, "output").textContent = `${state.found.length} here; ${here.length} of ${total} ${here.some((one) => one.a) ? "that changed" : "predictions"} are in this page`;
  more();
}

function more() {
  const next = state.found.slice(state.shown, state.shown + PAGE);
  pick(dialog, ".list").append(...next.map(example));
  state.shown += next.length;
  pick(dialog, "[data-more]").hidden = state.shown >= state.found.length;
}

function block(box, title, text) {
  box.append(element("h4", "", title), element("pre", "", text));
}

function percent(score) {
  return (100 * score).toFixed(1);
}

function example(pair) {
  const one = pair.a || pair;
  const box = element("article", `example ${verdict(pair)}`);
  const title = element("h3");
  title.append(element("span", "", one.example_id), element("small", "", one.template));
  if (one.seed !== null) title.append(element("small", "", `demonstration seed ${one.seed}`));
  const score = pair.a ? `${verdict(pair)}: A ${percent(pair.a.score)}, B ${percent(pair.b.score)}`
    : one.score === null ? "not scored" : `score ${percent(one.score)}`;
  title.append(element("span", "", score));
  box.append(title);
  if (one.before !== null && state.data.befores[one.before]) {
    const details = element("details");
    details.append(element("summary", "", "Instructions and demonstrations"),
      element("pre", "", state.data.befores[one.before]));
    box.append(details);
  }
  if (one.question !== null) block(box, "Question", one.question);
  if (pair.a) {
    const sides = element("div", "sides");
    for (const name of ["a", "b"]) {
      const side = element("div");
      side.append(element("h4", "", name.toUpperCase()));
      answer(side, pair[name]);
      sides.append(side);
    }
    if (!one.options.length) references(box, one);
    box.append(sides);
  } else {
    if (!one.options.length) references(box, one);
    answer(box, one);
  }
  return box;
}

function references(box, one) {
  block(box, one.references.length > 1 ? "References" : "Reference", one.references.join("\n—\n"));
}

function answer(box, one) {
  for (const note of one.notes) box.append(element("p", "quiet", note));
  if (one.options.length) {
    box.append(element("h4", "", "Options, with their probability among them"));
    for (const [text, logprob, share] of one.options) {
      const row = element("div", "option");
      row.style.setProperty("--share", `${100 * share}%`);
      row.title = `log-likelihood ${logprob} nats`;
      const chosen = text === one.said ? " ← prediction" : "";
      const right = one.references.includes(text) || text === one.answer ? " ✓ reference" : "";
      row.append(element("span", "n", `${(100 * share).toFixed(1)}%`), element("span", "", text + right + chosen));
      box.append(row);
    }
    const among = one.options.some(([text]) => one.references.includes(text) || text === one.answer);
    if (!among) block(box, "Reference, which is none of the options", one.references.join("\n—\n"));
  } else block(box, "Prediction", one.said === null ? "(none)" : one.said);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  const data = button.dataset, main = button.closest("main");
  const other = Object.keys(data).find((name) => name.startsWith("levelOfR"));
  if (data.sort !== undefined) sort(button);
  else if (data.close !== undefined) dialog.close();
  else if (data.more !== undefined) more();
  else if (data.chunk !== undefined) openExamples(data.chunk, data.shots, data.template, data.verdict);
  else if (other) {
    const name = other.replace("levelOfR", "r");
    location.hash = name;
    showRun(name);
    showTasks(document.getElementById(name), data[other] === "all categories" ? "" : data[other]);
  } else if (data.category !== undefined) {
    const [category, level] = data.category.split("\t");
    showTasks(main, level, { category });
  } else if (data.source !== undefined) {
    const [source, level] = data.source.split("\t");
    showTasks(main, level, { source });
  } else if (data.level !== undefined) showTasks(main, data.level);
});
document.addEventListener("input", (event) => {
  const section = event.target.closest("section");
  if (section && event.target.closest(".filters")) filter(section);
});
dialog.addEventListener("change", list);
addEventListener("hashchange", () => showRun(location.hash.slice(1)));
showRun(location.hash.slice(1) || "r0");
