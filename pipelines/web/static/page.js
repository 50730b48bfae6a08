// What plain forms cannot do: an upload in pieces with its progress, times in the reader's zone, the order of columns,
// and a notification when an export is done. Every page works without it.
"use strict";

const PIECE = 8 * 1024 * 1024;
const WAITS = [1000, 2000, 5000, 10000, 30000];

function showTimes(root) {
  const own = document.documentElement.lang;
  const lang = navigator.language.startsWith(own) ? navigator.language : own;
  const whole = new Intl.DateTimeFormat(lang, { dateStyle: "medium", timeStyle: "short" });
  const parts = { day: "numeric", month: "short", year: "numeric", hour: "numeric", minute: "2-digit" };
  const withZone = new Intl.DateTimeFormat(lang, { ...parts, timeZoneName: "short" });
  const zone = document.querySelector("#times");
  if (zone) zone.textContent = zone.dataset.words.replace("{zone}", Intl.DateTimeFormat().resolvedOptions().timeZone);
  const hour = new Intl.DateTimeFormat(lang, { timeStyle: "short" });
  const day = new Intl.RelativeTimeFormat(lang, { numeric: "auto" });
  const midnight = (date) => new Date(date.getFullYear(), date.getMonth(), date.getDate());
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    const days = Math.round((midnight(at) - midnight(new Date())) / 86400000);
    time.title = withZone.format(at);
    time.textContent = Math.abs(days) <= 1 ? `${day.format(days, "day")} ${hour.format(at)}` : whole.format(at);
  }
}

async function offsetOf(address) {
  const answer = await fetch(address, { method: "HEAD" });
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  return Number(answer.headers.get("Upload-Offset"));
}

async function send(file, address, shown) {
  let offset = await offsetOf(address);
  let failures = 0;
  for (;;) {
    shown(offset, file.size, false);
    if (offset >= file.size && failures === 0 && offset > 0) return;
    try {
      const piece = file.slice(offset, offset + PIECE);
      const answer = await fetch(address, {
        method: "PATCH",
        headers: { "Content-Type": "application/offset+octet-stream", "Upload-Offset": String(offset) },
        body: piece,
      });
      if (answer.status === 404) throw new Error("gone");
      const known = answer.headers.get("Upload-Offset");
      if (!answer.ok && known === null) throw new Error(`status ${answer.status}`);
      offset = Number(known);
      failures = 0;
      if (file.size === 0) return;
    } catch (error) {
      if (error.message === "gone") throw error;
      shown(offset, file.size, true);
      await new Promise((done) => setTimeout(done, WAITS[Math.min(failures++, WAITS.length - 1)]));
      try { offset = await offsetOf(address); failures = 0; } catch { /* tried again */ }
    }
  }
}

function prepareUpload(form) {
  const input = form.querySelector("input[type=file]");
  const area = form.querySelector("#sending");
  const bar = area.querySelector("progress");
  const words = area.querySelector(".sent");
  const shown = (sent, size, paused) => {
    bar.value = size ? (100 * sent) / size : 100;
    words.textContent = paused ? form.dataset.paused : form.dataset.sent.replace("{percent}", Math.floor(bar.value));
  };
  let waiting = null;
  const chosenType = () => form.querySelector("input[name=type]:checked, input[name=type][type=hidden]");
  async function begin(file) {
    if (form.dataset.continue && (file.size !== Number(form.dataset.bytes) || file.name !== form.dataset.name)) {
      area.hidden = false;
      words.textContent = form.dataset.other;
      return;
    }
    if (!chosenType()) {  // it begins when the type is chosen
      waiting = file;
      form.querySelector("#say-type").hidden = false;
      form.querySelector("#say-type .name").textContent = file.name;
      form.querySelector("input[name=type]").focus();
      return;
    }
    waiting = null;
    area.hidden = false;
    form.querySelector("button").disabled = true;
    let address = form.dataset.continue, page = form.dataset.page;
    if (!address) {
      const type = chosenType().value;
      const answer = await fetch(form.dataset.start, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ name: file.name, bytes: file.size, type }),
      });
      if (!answer.ok) { document.open(); document.write(await answer.text()); document.close(); return; }
      ({ upload: address, page } = await answer.json());
      history.replaceState(null, "", page);
    }
    await send(file, address, shown);
    location.assign(page);
  }
  form.addEventListener("submit", (event) => { event.preventDefault(); if (input.files[0]) begin(input.files[0]); });
  input.addEventListener("change", () => { if (input.files[0]) begin(input.files[0]); });
  form.querySelectorAll("input[name=type]").forEach((type) => type.addEventListener("change", () => {
    form.querySelector("#say-type").hidden = true;
    if (waiting) begin(waiting);
  }));
  for (const name of ["dragover", "dragleave", "drop"]) {
    form.addEventListener(name, (event) => {
      event.preventDefault();
      form.classList.toggle("over", name === "dragover");
      if (name === "drop" && event.dataTransfer.files[0]) begin(event.dataTransfer.files[0]);
    });
  }
}

function prepareOrder(list) {
  const number = () => list.querySelectorAll("input.place").forEach((place, at) => { place.value = at + 1; });
  for (const item of list.children) {
    for (const [way, sign] of [["up", "↑"], ["down", "↓"]]) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "plain move";
      button.textContent = sign;
      button.setAttribute("aria-label", `${list.dataset[way]}: ${item.querySelector("input[name=column]").value}`);
      button.addEventListener("click", () => {
        const other = way === "up" ? item.previousElementSibling : item.nextElementSibling;
        if (!other) return;
        way === "up" ? other.before(item) : other.after(item);
        number();
        button.focus();
        button.dispatchEvent(new Event("change", { bubbles: true }));
      });
      item.append(button);
    }
  }
}

function begin(root) {
  showTimes(root);
  const upload = root.querySelector("form#drop");
  if (upload && !upload.dataset.ready) { upload.dataset.ready = "yes"; prepareUpload(upload); }
  root.querySelectorAll("ul.order").forEach((list) => { if (!list.dataset.ready) { list.dataset.ready = "yes"; prepareOrder(list); } });
  const changes = root.querySelector("#changes");  // a reload shows the same page; htmx would keep a copy of it
  if (changes) history.replaceState(history.state, "", location.pathname + changes.dataset.query);
  const go = root.querySelector("[data-go]");
  if (go) { sessionStorage.moved = "yes"; location.assign(go.dataset.go); }
  const making = root.querySelector("#exporting");
  if (making && "Notification" in window && Notification.permission === "default" && !sessionStorage.asked) {
    sessionStorage.asked = "yes";
    document.addEventListener("click", () => Notification.requestPermission(), { once: true });
  }
  if (making) sessionStorage.making = location.pathname;
  const done = root.querySelector("[data-done]");
  if (done && sessionStorage.making === location.pathname) {
    delete sessionStorage.making;
    if (document.hidden && "Notification" in window && Notification.permission === "granted") new Notification(done.dataset.done);
  }
  const zone = root.querySelector("#zone, [data-zone]");
  if (zone && ["UTC", ""].includes(zone.value)) zone.value = Intl.DateTimeFormat().resolvedOptions().timeZone;
}

// After each step the focus is at the new page's heading; in the grid it is at the next wrong value.
function focusHeading() {
  const heading = document.querySelector("main h1");
  if (!sessionStorage.moved || !heading) return;
  delete sessionStorage.moved;
  heading.tabIndex = -1;
  heading.focus({ preventScroll: true });
}

function focusNextWrong(row) {
  if (document.activeElement !== document.body) return;
  for (let each = row; each; each = each.nextElementSibling) {
    const wrong = each.querySelector("input[aria-invalid=true]");
    if (wrong) { wrong.focus(); return; }
  }
  row.querySelector("input, button")?.focus();
}

document.addEventListener("DOMContentLoaded", () => { begin(document); focusHeading(); });
document.addEventListener("submit", () => { sessionStorage.moved = "yes"; });
document.addEventListener("htmx:beforeRequest", () => { delete sessionStorage.moved; });
document.addEventListener("htmx:afterSettle", (event) => {
  const row = event.target.closest?.("tbody[id]") || document.getElementById(event.target.id);
  if (row?.matches("tbody")) focusNextWrong(row);
});
document.addEventListener("htmx:load", (event) => begin(event.detail.elt.parentElement || document));
