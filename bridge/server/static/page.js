// The live part of the pages, and the copy buttons; without it they are complete and stand still.
"use strict";

const EVERY = 2000; // milliseconds
const served = new WeakMap(); // how the server wrote an element, before anything here touched it
const status = document.getElementById("live");

function prepare(root) {
  for (const part of root.querySelectorAll("[data-live] > [id]")) served.set(part, part.outerHTML);
  for (const button of root.querySelectorAll("button.copy")) button.hidden = !navigator.clipboard;
}

async function copy(button) {
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Failed";
  }
  setTimeout(() => (button.textContent = "Copy"), 1500);
}

function place(element) {
  // Where the focus is, in words that hold for the element that comes instead.
  const part = element.closest("[data-live] > [id]");
  if (!part) return null;
  return { id: part.id, number: [...part.querySelectorAll("a, button")].indexOf(element) };
}

function update(old, fresh) {
  const known = new Map([...old.children].map((part) => [part.id, part]));
  const said = [];
  const wanted = [...fresh.children].map((part) => {
    const mine = known.get(part.id);
    if (mine && served.get(mine) === part.outerHTML) return mine;
    const { name, state } = part.dataset;
    if (name && mine?.dataset.state !== state) said.push(`${name}: ${state}`);
    return part;
  });
  if (wanted.length === old.children.length && wanted.every((part, at) => part === old.children[at])) return said;
  const focus = old.contains(document.activeElement) ? place(document.activeElement) : null;
  for (const part of wanted) if (part.parentNode !== old) served.set(part, part.outerHTML);
  const kept = new Set(wanted);
  for (const part of [...old.children]) if (!kept.has(part)) part.remove();
  wanted.forEach((part, at) => {
    if (old.children[at] !== part) old.insertBefore(part, old.children[at] ?? null);
  });
  for (const button of old.querySelectorAll("button.copy")) button.hidden = !navigator.clipboard;
  if (focus && !old.contains(document.activeElement)) {
    document.getElementById(focus.id)?.querySelectorAll("a, button")[focus.number]?.focus();
  }
  return said;
}

async function look() {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!answer.ok) throw new Error(String(answer.status));
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  const said = [];
  for (const part of [...document.querySelectorAll("[data-live]")]) {
    const other = fresh.getElementById(part.id);
    if (!other || other.tagName !== part.tagName) {
      document.getElementById("main").replaceChildren(...fresh.getElementById("main").children);
      prepare(document);
      return [];
    }
    said.push(...update(part, other));
  }
  return said;
}

async function live() {
  if (!document.hidden) {
    try {
      const said = await look();
      if (said.length) status.textContent = said.slice(0, 3).join(", ");
      else if (status.dataset.lost) status.textContent = "Live again";
      delete status.dataset.lost;
    } catch {
      status.dataset.lost = "yes";
      status.textContent = "Not live: the bridge does not answer";
    }
  }
  setTimeout(live, EVERY);
}

prepare(document);
document.addEventListener("click", (event) => {
  const button = event.target.closest("button.copy");
  if (button) copy(button);
});
if (document.querySelector("[data-live]:not(#troubles)")) setTimeout(live, EVERY);
