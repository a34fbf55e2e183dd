// Draws, sorts, filters and turns what the page holds. Every number was computed before; nothing is asked of a network.
"use strict";

const SVG = "http://www.w3.org/2000/svg";
const STATUSES = ["ok", "empty", "non-finite", "out-of-memory", "failed"];
const KINDS = { rgb: "Colour", opacity: "Opacity", normal: "Normals" };
const ROOMY = 5; // columns of turntables that are shown larger
const narrow = matchMedia("(max-width: 680px)"); // as in page.css
const FIRST = 100; // jobs of the provenance that are shown unasked

/** An element with properties and children; text is always text. */
function make(tag, properties = {}, ...children) {
  const node = tag.startsWith("svg:") ? document.createElementNS(SVG, tag.slice(4)) : document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (key === "text") node.textContent = value;
    else if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value !== null && value !== false) node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

const fixed = (x, decimals, sign = false) =>
  x === null || x === undefined ? "–" : (sign && x > 0 ? "+" : "") + x.toFixed(decimals).replace(/^-/, "−");

/* Tips: what a pointer or the keyboard's focus is on explains itself. */
function tips() {
  const tip = document.getElementById("tip");
  const hide = () => (tip.hidden = true);
  function show(event) {
    const node = event.target.closest?.("[data-tip]");
    if (!node || !node.dataset.tip) return hide();
    tip.textContent = node.dataset.tip;
    const home = node.closest("dialog[open]") || document.body; // a dialog covers all that is not in it
    if (tip.parentNode !== home) home.append(tip);
    tip.hidden = false;
    const at = node.getBoundingClientRect(), own = tip.getBoundingClientRect();
    const above = at.top - own.height - 8;
    tip.style.left = Math.max(8, Math.min(at.left + at.width / 2 - own.width / 2, innerWidth - own.width - 8)) + "px";
    tip.style.top = (above > 8 ? above : at.bottom + 8) + "px";
  }
  document.addEventListener("pointerover", show);
  document.addEventListener("focusin", show);
  document.addEventListener("focusout", hide);
  document.addEventListener("scroll", hide, true);
  document.addEventListener("keydown", (event) => event.key === "Escape" && hide());
  for (const node of document.querySelectorAll("thead button[data-tip]")) node.setAttribute("aria-description", node.dataset.tip);
}

/* Tables sort by a click on a heading, the best first; a third click restores their order. */
function sortable(table) {
  const body = table.tBodies[0], original = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const first = column === 0 || head.dataset.better === "down" ? "ascending" : "descending";
    const second = first === "ascending" ? "descending" : "ascending";
    const next = { [first]: second, [second]: null }[head.getAttribute("aria-sort")];
    const order = next === undefined ? first : next;
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    if (order) head.setAttribute("aria-sort", order);
    const toOne = head.dataset.better === "one";
    const key = (row) => {
      const value = row.cells[column].dataset.sort;
      if (column === 0) return row.cells[0].textContent;
      return value === "" || value === undefined ? null : toOne ? -Math.abs(Number(value) - 1) : Number(value);
    };
    const sign = order === "ascending" ? 1 : -1;
    const rows = order === null ? original : [...original].sort((a, b) => {
      const x = key(a), y = key(b);
      if (x === null || y === null) return (x === null) - (y === null); // what is not known comes last
      return sign * (typeof x === "string" ? x.localeCompare(y) : x - y);
    });
    body.append(...rows);
  }));
}

/* A chart is drawn to the width it has, and again when that changes. */
function chart(box, draw) {
  let width = 0;
  const redraw = () => { width = box.clientWidth; if (width) box.replaceChildren(...draw(width)); };
  new ResizeObserver(() => box.clientWidth !== width && redraw()).observe(box);
  return redraw;
}

function ticks(low, high, most) {
  const raw = (high - low) / most, power = 10 ** Math.floor(Math.log10(raw));
  const steps = [0.5, 1, 2, 2.5, 5, 10].map((k) => k * power), wide = steps.findIndex((s) => s >= raw);
  const at = (step) => {
    const found = [];
    for (let t = Math.ceil(low / step - 1e-9) * step; t <= high + step * 1e-6; t += step) found.push(Math.abs(t) < step / 1e6 ? 0 : t);
    return found;
  };
  const found = at(steps[wide]);
  return found.length > 1 ? found : at(steps[wide - 1]); // one number alone gives no scale
}

const short = (x) => String(Number(x.toPrecision(4))).replace(/^-/, "−");
const line = (x1, y1, x2, y2, name) => make("svg:line", { x1, y1, x2, y2, class: name });
const text = (x, y, said, properties = {}) => make("svg:text", { x, y, text: said, "dominant-baseline": "central", ...properties });

function extent(values, zero = false) {
  const seen = values.filter((x) => x !== null && x !== undefined);
  let low = Math.min(...seen, ...(zero ? [0] : [])), high = Math.max(...seen, ...(zero ? [0] : []));
  if (!(high > low)) { low -= 0.5; high += 0.5; }
  const pad = 0.04 * (high - low);
  return [low - pad, high + pad];
}

/** A division of the page: its controls, gallery and charts. */
function division(article) {
  const data = JSON.parse(article.querySelector("script.data").textContent);
  const find = (selector) => article.querySelector(selector);
  const column = Object.fromEntries(data.columns.map((c) => [c.key, c]));
  const hidden = new Set();
  const shown = () => data.methods.map((_, m) => m).filter((m) => !hidden.has(data.methods[m]));
  const metric = () => column[find(".metric").value];
  const heading = (c) => c.title + (c.unit ? ` (${c.unit})` : "") + (c.arrow ? ` ${c.arrow}` : "");
  const job = new Map(data.jobs.method.map((m, j) => [JSON.stringify([m, data.jobs.prompt_id[j], data.jobs.seed[j]]), j]));
  const jobOf = (m, p, seed) => job.get(JSON.stringify([data.methods[m], data.prompts[p].id, seed]));

  const gutter = (width) => Math.min(Math.max(...data.methods.map((m) => m.length)) * 7.4 + 16, width * 0.34);
  const clipped = (name, room) => (name.length * 7.4 > room ? name.slice(0, Math.max(room / 7.4 - 1, 3)) + "…" : name);

  function frame(width, left, right, rows, ends, label, most = 7) {
    const step = 30, height = rows * step + 44;
    const x = (value) => left + ((value - ends[0]) / (ends[1] - ends[0])) * (width - left - right);
    const svg = make("svg:svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": label });
    for (const t of ticks(ends[0], ends[1], Math.min(most, (width - left - right) / 70))) {
      svg.append(line(x(t), 4, x(t), rows * step + 6, "grid"), text(x(t), rows * step + 20, short(t), { class: "soft", "text-anchor": "middle" }));
    }
    return { svg, x, y: (row) => row * step + step / 2 + 4, step };
  }

  function drawSpread(width) {
    const c = metric();
    if (!c) return [make("p", { class: "note", text: "No job has scores." })];
    const rows = shown(), left = gutter(width), means = data.means[c.key];
    const ends = extent(rows.flatMap((m) => means[m]));
    const label = `${heading(c)} of each prompt, by method: ` + rows.map((m) => `${data.methods[m]} median ${fixed(quantile(means[m], 0.5), c.decimals)}`).join(", ");
    const { svg, x, y } = frame(width, left, 12, rows.length, ends, label);
    const follow = make("svg:polyline", { class: "follow", points: "" });
    svg.append(follow);
    rows.forEach((m, row) => {
      svg.append(text(left - 12, y(row), clipped(data.methods[m], left - 12), { "text-anchor": "end" }));
      const q = [0.25, 0.5, 0.75].map((share) => quantile(means[m], share));
      if (q[0] === null) return;
      svg.append(make("svg:rect", { x: x(q[0]), y: y(row) - 9, width: Math.max(x(q[2]) - x(q[0]), 1), height: 18, rx: 3, class: "box" }));
      means[m].forEach((value, p) => value !== null && svg.append(make("svg:circle", {
        cx: x(value), cy: y(row) + ((p * 7) % 9) - 4, r: 3.5, class: "dot", "data-p": p,
        "data-tip": `${data.prompts[p].text}: ${fixed(value, c.decimals)}${c.unit ? " " + c.unit : ""}, ${data.methods[m]}`,
      })));
      svg.append(line(x(q[1]), y(row) - 11, x(q[1]), y(row) + 11, "median"));
    });
    svg.addEventListener("pointerover", (event) => {
      const p = event.target.dataset?.p;
      const same = p === undefined ? [] : [...svg.querySelectorAll(`[data-p="${p}"]`)];
      svg.querySelectorAll(".lit").forEach((dot) => dot.classList.remove("lit"));
      same.forEach((dot) => dot.classList.add("lit"));
      follow.setAttribute("points", same.map((dot) => `${dot.getAttribute("cx")},${dot.getAttribute("cy")}`).join(" "));
    });
    svg.append(text(left, rows.length * 30 + 38, heading(c), { class: "soft" }));
    return [svg];
  }

  function quantile(values, share) {
    const seen = values.filter((v) => v !== null).sort((a, b) => a - b);
    if (!seen.length) return null;
    const at = share * (seen.length - 1), k = Math.floor(at);
    return seen[k] + (at - k) * ((seen[k + 1] ?? seen[k]) - seen[k]);
  }

  /** [mean, low, high] of method a less method b. */
  function gap(key, a, b) {
    const found = data.gaps[key][Math.max(a, b)][Math.min(a, b)];
    const minus = (x) => (x === null ? null : -x);
    return found === null || a > b ? found : [minus(found[0]), minus(found[2]), minus(found[1])];
  }

  function drawGaps(width) {
    const c = metric(), base = data.methods.indexOf(find(".baseline").value);
    const rows = shown().filter((m) => m !== base);
    if (!c || !rows.length) return [make("p", { class: "note", text: "There is no other method to compare." })];
    const left = gutter(width), right = 168, wide = width > 560;
    const found = rows.map((m) => gap(c.key, m, base));
    const ends = extent(found.flat(), true);
    const said = (d) => (d === null ? "nothing in common" : fixed(d[0], c.decimals, true) + (d[1] === null ? "" : ` [${fixed(d[1], c.decimals, true)}, ${fixed(d[2], c.decimals, true)}]`));
    const label = `${heading(c)}, each method less ${data.methods[base]}: ` + rows.map((m, row) => `${data.methods[m]} ${said(found[row])}`).join("; ");
    const { svg, x, y } = frame(width, left, wide ? right : 12, rows.length, ends, label);
    svg.append(line(x(0), 2, x(0), rows.length * 30 + 8, "zero"));
    rows.forEach((m, row) => {
      const d = found[row];
      svg.append(text(left - 12, y(row), clipped(data.methods[m], left - 12), { "text-anchor": "end" }));
      const apart = d !== null && d[1] !== null && (d[1] > 0 || d[2] < 0);
      const good = { up: d?.[0] > 0, down: d?.[0] < 0 }[c.better];
      const name = !apart || good === undefined ? "even" : good ? "better" : "worse";
      if (d !== null && d[1] !== null) svg.append(make("svg:line", { x1: x(d[1]), x2: x(d[2]), y1: y(row), y2: y(row), class: name, "stroke-width": 2 }));
      if (d !== null) svg.append(make("svg:circle", { cx: x(d[0]), cy: y(row), r: 4.5, class: name, "data-tip": `${data.methods[m]} less ${data.methods[base]}: ${said(d)}` }));
      if (wide) svg.append(text(width, y(row), said(d), { "text-anchor": "end", class: apart ? name : "soft" }));
    });
    svg.append(text(left, rows.length * 30 + 38, `${heading(c)}, less ${data.methods[base]}`, { class: "soft" }));
    return [svg];
  }

  function drawCost(width, key) {
    const c = metric(), cost = column[key];
    const rows = shown().filter((m) => c && data.cost[key][m] > 0 && data.table[c.key][m][0] !== null);
    if (!rows.length) return [make("p", { class: "note", text: `${cost ? cost.title : key} is not known.` })];
    const left = 52, right = 20, top = 14, height = 340, bottom = 46;
    const log = extent(rows.map((m) => Math.log10(data.cost[key][m])));
    const ends = extent(rows.flatMap((m) => data.table[c.key][m]));
    const pad = 0.08 * (log[1] - log[0]);
    const x = (v) => left + ((Math.log10(v) - log[0] + pad) / (log[1] - log[0] + 2 * pad)) * (width - left - right);
    const y = (v) => top + (1 - (v - ends[0]) / (ends[1] - ends[0])) * (height - top - bottom);
    const label = `${heading(c)} against ${heading(cost)}: ` + rows.map((m) => `${data.methods[m]} ${fixed(data.table[c.key][m][0], c.decimals)} at ${short(data.cost[key][m])}`).join(", ");
    const svg = make("svg:svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": label });
    for (const t of ticks(ends[0], ends[1], 5)) svg.append(line(left, y(t), width - right, y(t), "grid"), text(left - 8, y(t), short(t), { class: "soft", "text-anchor": "end" }));
    const decades = [];
    for (let d = Math.floor(log[0] - pad); d <= log[1] + pad; d += 1) for (const k of [1, 2, 5]) decades.push(k * 10 ** d);
    for (const t of decades.filter((t) => Math.log10(t) >= log[0] - pad && Math.log10(t) <= log[1] + pad))
      svg.append(line(x(t), height - bottom, x(t), height - bottom + 4, "zero"), text(x(t), height - bottom + 15, short(t), { class: "soft", "text-anchor": "middle" }));
    const marks = rows.map((m) => {
      const [mean, low, high] = data.table[c.key][m];
      return { m, name: data.methods[m], at: x(data.cost[key][m]), row: y(mean), above: y(high ?? mean), below: y(low ?? mean), tip: fixed(mean, c.decimals) };
    });
    for (const { m, name, at, row, above, below, tip } of marks)
      svg.append(line(at, below, at, above, "bar"), make("svg:circle", { cx: at, cy: row, r: 5, class: "mean", "data-tip": `${name}: ${tip} at ${short(data.cost[key][m])} ${cost.title}` }));
    const placed = [];
    const over = ({ start, long, row }) => (p) => Math.abs(p.row - row) < 17 && p.start < start + long && start < p.start + p.long;
    const crowd = (name) => 100 * placed.filter(over(name)).length
      + marks.filter((p) => p.at + 6 > name.start && p.at - 6 < name.start + name.long).reduce((sum, p) => sum + (Math.abs(p.row - name.row) < 15 ? 20 : p.above - 6 < name.row && name.row < p.below + 6 ? 5 : 0), 0);
    for (const { name, at, row } of [...marks].sort((a, b) => a.row - b.row)) {
      const long = name.length * 7.2 + 2, places = [];
      for (const shift of [0, -8, 8, -16, 16, -24, 24])  // beside its dot, where least is in the way
        for (const start of [at + 9, at - long - 9])
          if (start >= left && start + long <= width - right + 5) places.push({ start, long, row: row + shift, cost: crowd({ start, long, row: row + shift }) + Math.abs(shift) / 4 + (start < at ? 1 : 0) });
      const best = places.reduce((a, b) => (b.cost < a.cost ? b : a), { start: at + 9, long, row, cost: Infinity });
      placed.push(best);
      if (Math.abs(best.row - row) > 8) svg.append(line(at, row, best.start < at ? best.start + long : best.start, best.row, "grid"));
      svg.append(text(best.start < at ? at - 9 : best.start, best.row, name, { "text-anchor": best.start < at ? "end" : "start" }));
    }
    svg.append(text(left, height - 10, `${heading(cost)}, logarithmic`, { class: "soft" }), text(0, 4, heading(c), { class: "soft" }));
    return [svg];
  }

  function drawEnds() {
    const present = STATUSES.filter((s) => data.statuses[s].some((n) => n > 0));
    const legend = make("ul", { class: "legend" }, ...present.map((s) => make("li", {}, make("span", { class: `status ${s}`, text: s }))));
    return [legend, ...shown().map((m) => {
      const total = STATUSES.reduce((sum, s) => sum + data.statuses[s][m], 0), lost = total - data.statuses.ok[m];
      const bars = present.filter((s) => data.statuses[s][m]).map((s) => {
        const bar = make("i", { class: s, "data-tip": `${data.methods[m]}: ${data.statuses[s][m]} of ${total} ${s}` });
        bar.style.flex = data.statuses[s][m];
        return bar;
      });
      return make("div", { class: "line" }, make("span", { text: data.methods[m] }), make("div", { class: "track" }, ...bars), make("span", { text: lost ? `${lost} of ${total}` : "none" }));
    })];
  }

  /* Turntables: one angle for all. A sheet of n frames stands at frame k of them, by --k<n> on the article. */
  const sizes = new Set();
  for (const seen of [...data.pictures.jobs, ...data.pictures.truth]) for (const kind of Object.keys(KINDS)) if (seen[kind]) sizes.add(seen[kind][1]);
  const slider = find(".azimuth input"), play = find(".play");
  function turn(degrees) {
    const angle = ((Math.round(degrees) % 360) + 360) % 360;
    slider.value = angle;
    slider.setAttribute("aria-valuetext", `${angle} degrees`);
    find(".azimuth output").textContent = `${angle}°`;
    for (const n of sizes) {
      const k = Math.round((angle / 360) * n) % n;
      document.documentElement.style.setProperty(`--k${n}`, n > 1 ? k / (n - 1) : 0);
    }
  }

  function picture(seen, kind, eager = false) {
    const sheet = seen?.[kind];
    if (!sheet) return null;
    const [file, n, width, height] = sheet;
    const pic = make("span", { class: "pic" + (width <= 96 ? " small" : ""), "data-file": file });
    pic.style.setProperty("--n", n);
    pic.style.setProperty("--k", `var(--k${n})`);
    pic.style.setProperty("--aspect", `${width} / ${height}`);
    if (eager) load(pic); else lazy.observe(pic);
    return pic;
  }
  const load = (pic) => (pic.style.backgroundImage = `url("${pic.dataset.file}")`);
  const lazy = new IntersectionObserver((entries) => entries.forEach((entry) => {
    if (entry.isIntersecting) { load(entry.target); lazy.unobserve(entry.target); }
  }), { rootMargin: "600px" });
  const gone = (status, said) => make("span", { class: `pic gone ${status}`, text: said });

  const kind = () => article.querySelector(".kinds input:checked")?.value || "rgb";
  const seed = () => find(".seed select").value || data.seeds[0];
  const withTruth = () => data.pictures.truth.length > 0 && find(".true input").checked;

  function cell(m, p) {
    const j = jobOf(m, p, seed()), c = metric(), value = c ? data.means[c.key][m][p] : null;
    const status = j === undefined ? "" : data.jobs.status[j], seen = j === undefined ? null : data.pictures.jobs[j];
    const pic = status === "ok" || !status ? picture(seen, kind()) : null;
    const what = pic ? `${fixed(value, c?.decimals)}${c?.unit === "%" && value !== null ? " %" : ""}` : "";
    const view = pic || gone(status, j === undefined ? "not run" : seen?.damaged ? "not readable" : status === "ok" ? "no pictures" : status);
    return make("button", { type: "button", class: "turn", role: "gridcell", tabindex: -1, "data-m": m, "data-p": p,
      "aria-label": `${data.methods[m]}, ${data.prompts[p].text}: ${pic && c ? `${c.title} ${what}` : view.textContent}` },
      view, make("span", { class: "who", text: data.methods[m] }), make("span", { class: "value", text: what }));
  }

  function gallery() {
    const rows = shown(), box = find(".gallery"), words = find(".filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    lazy.disconnect();
    const columns = rows.length + (withTruth() ? 1 : 0);
    article.style.setProperty("--columns", columns);
    box.classList.toggle("roomy", columns <= ROOMY);
    const names = make("div", { class: "row names", role: "row" }, make("span", { role: "columnheader" }, make("span", { class: "hidden", text: "Prompt" })),
      withTruth() ? make("span", { role: "columnheader", text: "truth" }) : null, ...rows.map((m) => make("span", { role: "columnheader", text: data.methods[m], title: data.methods[m] })));
    const found = data.prompts.map((prompt, p) => [prompt, p]).filter(([prompt]) => words.every((w) => `${prompt.text} ${prompt.id}`.toLowerCase().includes(w)));
    box.replaceChildren(names, ...found.map(([prompt, p]) => make("div", { class: "row", role: "row" },
      make("div", { class: "prompt", role: "rowheader" }, make("span", { text: prompt.text })),
      withTruth() ? make("div", { class: "turn truth", role: "gridcell", "aria-label": `truth of ${prompt.text}` },
        picture(data.pictures.truth[p], data.pictures.truth[p][kind()] ? kind() : "rgb") || gone("", "not known"), make("span", { class: "who", text: "truth" })) : null,
      ...rows.map((m) => cell(m, p)))));
    for (const first of box.querySelectorAll(narrow.matches ? ".row button:first-of-type" : "button")) {
      first.tabIndex = 0; // arrows lead to the others; where each row scrolls by itself, each is a stop
      if (!narrow.matches) break;
    }
    find(".none").hidden = found.length > 0;
    box.hidden = !found.length;
  }

  function walk(event) {
    const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
    const from = event.target.closest("button.turn");
    if (!step || !from) return;
    event.preventDefault();
    const rows = [...find(".gallery").querySelectorAll(".row:not(.names)")].map((row) => [...row.querySelectorAll("button")]);
    const r = rows.findIndex((row) => row.includes(from)), k = rows[r].indexOf(from);
    const to = rows[r + step[0]]?.[k + step[1]];
    if (to) { if (!narrow.matches) from.tabIndex = -1; to.tabIndex = 0; to.focus(); }
  }

  function closeUp(m, p) {
    const dialog = document.querySelector("dialog.close-up"), j = jobOf(m, p, seed());
    const seen = j === undefined ? {} : data.pictures.jobs[j], truth = data.pictures.truth[p] || {};
    const figures = [...Object.entries(KINDS).map(([k, said]) => [seen, k, said]), [truth, "rgb", "Truth"]]
      .filter(([of, k]) => of[k]).map(([of, k, said]) => make("figure", {}, picture(of, k, true), make("figcaption", { text: said })));
    const fact = (name, value) => value === null || value === undefined || value === "" ? null : make("div", {}, make("dt", { text: name }), make("dd", {}, ...[value].flat()));
    const scores = data.metrics.map((key) => fact(column[key].title, [fixed(data.means[key][m][p], column[key].decimals), make("small", { text: ` mean ${fixed(data.table[key][m][0], column[key].decimals)}` })]));
    const J = data.jobs, facts = j === undefined ? [] : [fact("Status", J.status[j]), fact("Cause", J.cause[j]), fact("Steps", J.steps[j]), fact("NFE", J.nfe[j]), fact("Minutes", J.time_min[j]?.toFixed(2)),
      fact("Prior", J.prior_name[j]), fact("Commit", J.commit[j]?.slice(0, 12)), fact("Device", J.device[j]), fact("Run", J.run[j])];
    const title = make("h2", { id: "close-up-h", text: data.prompts[p].text });
    const range = make("input", { type: "range", min: 0, max: 359, value: slider.value, "aria-label": "Azimuth", oninput: (e) => turn(Number(e.target.value)) });
    const large = make("div", { class: "large" }, ...figures);
    drag(large, range);
    dialog.querySelector(".inside").replaceChildren(title, make("p", { class: "note", text: `${data.methods[m]}, seed ${seed()}` }),
      figures.length ? large : gone(j === undefined ? "" : J.status[j], "no pictures"),
      figures.length ? make("label", { class: "azimuth" }, "Turn ", range) : "",
      seen.mesh ? make("p", {}, make("a", { href: seen.mesh, download: `${data.methods[m]}-${data.prompts[p].id}.glb`, text: "Its mesh, as a GLB file" })) : "",
      make("dl", { class: "scores" }, ...scores.filter(Boolean)),
      make("p", { class: "note", text: "In bold, the scores of this prompt over its seeds and views; beside them, the means of the method over the table's prompts." }),
      make("dl", { class: "scores" }, ...facts.filter(Boolean)));
    dialog.showModal();
  }

  function drag(box, range) {
    let from = null;
    box.addEventListener("pointerdown", (event) => { from = [event.clientX, Number(slider.value)]; box.setPointerCapture(event.pointerId); });
    box.addEventListener("pointermove", (event) => { if (from) { turn(from[1] + (event.clientX - from[0]) * 0.8); range.value = slider.value; } });
    for (const end of ["pointerup", "pointercancel"]) box.addEventListener(end, () => (from = null));
  }

  let all = false;
  function provenance() {
    const names = Object.keys(data.jobs), words = find(".filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    const text = Object.fromEntries(data.prompts.map((p) => [p.id, p.text]));
    const told = (key, value) => value === null ? "" : typeof value === "number" ? short(value) : ["prior", "commit"].includes(key) ? value.slice(0, 12) : value;
    const rows = data.jobs.method.map((_, j) => j).filter((j) => !hidden.has(data.jobs.method[j]) && words.every((w) => `${text[data.jobs.prompt_id[j]]} ${data.jobs.prompt_id[j]}`.toLowerCase().includes(w)));
    const used = names.filter((key) => data.jobs[key].some((value) => value !== null && value !== ""));
    find(".jobs thead").replaceChildren(make("tr", {}, ...used.map((key) => make("th", { scope: "col", text: key.replace(/_/g, " ") }))));
    find(".jobs tbody").replaceChildren(...(all ? rows : rows.slice(0, FIRST)).map((j) => make("tr", {}, ...used.map((key) =>
      key === "status" ? make("td", {}, make("span", { class: `status ${data.jobs.status[j]}`, text: data.jobs.status[j] })) : make("td", { text: told(key, data.jobs[key][j]) })))));
    find(".more").hidden = all || rows.length <= FIRST;
    find(".more span").textContent = `${FIRST} of ${rows.length.toLocaleString("en")} jobs.`;
  }

  const charts = [chart(find(".chart.spread"), drawSpread), chart(find(".chart.gaps"), drawGaps), chart(find(".chart.ends"), drawEnds),
    ...[...article.querySelectorAll(".chart.cost")].map((box) => chart(box, (width) => drawCost(width, box.dataset.cost)))];
  const draw = () => charts.forEach((redraw) => redraw());

  function chosen() {
    for (const row of article.querySelectorAll("tr[data-method]")) row.hidden = hidden.has(row.dataset.method);
    find(".choose .shown").textContent = hidden.size ? `(${shown().length} of ${data.methods.length})` : "";
    gallery(); draw(); provenance();
  }

  function controls() {
    find(".metric").append(...data.metrics.map((key) => make("option", { value: key, text: heading(column[key]) })));
    find(".metric").addEventListener("change", () => { gallery(); draw(); });
    find(".baseline").append(...data.methods.map((m) => make("option", { value: m, text: m })));
    find(".baseline").addEventListener("change", draw);
    find(".filter").addEventListener("input", () => { gallery(); provenance(); });
    find(".chips").append(...data.methods.map((m) => make("label", {}, make("input", { type: "checkbox", checked: true,
      onchange: (e) => { if (e.target.checked) hidden.delete(m); else hidden.add(m); chosen(); } }), m)));
    document.addEventListener("click", (e) => { if (!find(".choose").contains(e.target)) find(".choose").open = false; });
    find(".kinds").append(...data.pictures.kinds.map((k, i) => make("label", {}, make("input", { type: "radio", name: `${article.id}-kind`, value: k, checked: i === 0, onchange: gallery }), KINDS[k])));
    find(".true").hidden = !data.pictures.truth.length;
    find(".true input").addEventListener("change", gallery);
    const seen = data.seeds.filter((s) => data.jobs.seed.some((own, j) => own === s && Object.keys(data.pictures.jobs[j]).length));
    find(".seed select").append(...seen.map((s) => make("option", { value: s, text: s })));
    find(".seed").hidden = seen.length < 2;
    find(".seed select").addEventListener("change", gallery);
    slider.addEventListener("input", () => turn(Number(slider.value)));
    find(".turner").hidden = !data.pictures.kinds.length;
    find(".gallery").addEventListener("keydown", walk);
    find(".gallery").addEventListener("click", (e) => { const at = e.target.closest("button.turn"); if (at) closeUp(Number(at.dataset.m), Number(at.dataset.p)); });
    narrow.addEventListener("change", gallery);
    find(".more button").addEventListener("click", () => { all = true; provenance(); });
    let timer = null;
    play.addEventListener("click", () => {
      const on = timer === null;
      if (on) timer = setInterval(() => turn(Number(slider.value) + 6), 90); else { clearInterval(timer); timer = null; }
      play.setAttribute("aria-pressed", on);
      play.textContent = on ? "Stop" : "Turn";
    });
  }

  article.querySelectorAll("table.sortable").forEach(sortable);
  controls();
  turn(0);
  chosen();
}

/** A page that is written again while jobs run is loaded again, with what was chosen, unless somebody is looking closely. */
function live() {
  const { live: seconds, written } = document.documentElement.dataset, banner = document.querySelector(".live");
  if (!seconds) return;
  const wait = Number(seconds) * 1000, chosen = [...document.querySelectorAll(".controls select, .controls input[type=search]")];
  const kept = JSON.parse(sessionStorage.getItem("chosen") || "[]");
  if (kept.length === chosen.length) chosen.forEach((node, k) => {
    if (node.tagName === "SELECT" && ![...node.options].some((o) => o.value === kept[k])) return;
    node.value = kept[k];
    node.dispatchEvent(new Event(node.tagName === "SELECT" ? "change" : "input"));
  });
  setInterval(() => {
    if (Date.now() - Number(written) * 1000 > 5 * wait + 60000) { // whoever wrote it has gone
      banner.classList.add("over");
      banner.textContent = `Nobody writes this page any more: it is of ${new Date(Number(written) * 1000).toLocaleString()}.`;
    } else if (!document.querySelector("dialog[open], .play[aria-pressed=true]")) {
      sessionStorage.setItem("chosen", JSON.stringify(chosen.map((node) => node.value)));
      location.reload();
    }
  }, wait);
}

/** Response curves: a chart a metric, a line a damage, by its strength. */
function judges(section) {
  const all = JSON.parse(section.querySelector("script.judges").textContent);
  section.querySelector(".legend").append(...all[0].lines.map((l, k) => make("li", {}, make("span", { class: `key line${k}`, text: l.name }))));
  section.querySelectorAll(".chart").forEach((box, n) => chart(box, (width) => {
    const { title, unit, decimals, strengths, lines } = all[n], left = 44, right = 8, top = 8, bottom = 26, height = 190;
    const ends = extent(lines.flatMap((l) => l.values)), most = Math.max(...strengths);
    const x = (s) => left + (s / most) * (width - left - right), y = (v) => top + (1 - (v - ends[0]) / (ends[1] - ends[0])) * (height - top - bottom);
    const label = `${title} by strength of damage: ` + lines.map((l) => `${l.name} from ${fixed(l.values[0], decimals)} to ${fixed(l.values.at(-1), decimals)}`).join(", ");
    const svg = make("svg:svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": label });
    for (const t of ticks(ends[0], ends[1], 4)) svg.append(line(left, y(t), width - right, y(t), "grid"), text(left - 7, y(t), short(t), { class: "soft", "text-anchor": "end" }));
    for (const s of strengths) svg.append(text(x(s), height - 10, short(s), { class: "soft", "text-anchor": "middle" }));
    lines.forEach((l, k) => {
      svg.append(make("svg:polyline", { class: `curve line${k}`, points: l.values.map((v, i) => `${x(strengths[i])},${y(v)}`).join(" ") }));
      l.values.forEach((v, i) => svg.append(make("svg:circle", { class: `point line${k}`, cx: x(strengths[i]), cy: y(v), r: 4,
        "data-tip": `${l.name}, strength ${short(strengths[i])}: ${fixed(v, decimals)}${unit ? " " + unit : ""}` })));
    });
    return [svg];
  })());
}

/** The part of the page that is in view is marked in its navigation. */
function spy() {
  const links = [...document.querySelectorAll(".sections a")];
  const watch = new IntersectionObserver((entries) => entries.forEach((entry) => {
    const link = links.find((a) => a.hash === `#${entry.target.id}`);
    if (entry.isIntersecting) link.setAttribute("aria-current", "true"); else link.removeAttribute("aria-current");
  }), { rootMargin: "-35% 0px -60% 0px" });
  links.forEach((link) => watch.observe(document.querySelector(link.hash)));
}

document.documentElement.classList.add("scripted");
document.querySelectorAll("article.division").forEach(division);
document.querySelectorAll("section.judged").forEach(judges);
tips();
spy();
live();
document.documentElement.dataset.ready = "yes";
