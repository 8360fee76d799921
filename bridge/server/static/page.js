// Keeps the pages up to date, and copies image names. Without it the pages are complete, but static.
"use strict";

const INTERVAL = 2000; // milliseconds
const served = new WeakMap(); // the server's HTML of an element, before this script changed it
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
    button.textContent = "Copy failed";
  }
  setTimeout(() => (button.textContent = "Copy"), 1500);
}

function locate(element) {
  // Where the focus is, in terms that also hold for the element that replaces this one.
  const part = element.closest("[data-live] > [id]");
  if (!part) return null;
  return { id: part.id, number: [...part.querySelectorAll("a, button")].indexOf(element) };
}

function update(old, fresh) {
  const known = new Map([...old.children].map((part) => [part.id, part]));
  const changes = [];
  const parts = [...fresh.children].map((part) => {
    const mine = known.get(part.id);
    if (mine && served.get(mine) === part.outerHTML) return mine;
    const { name, state } = part.dataset;
    if (name && mine?.dataset.state !== state) changes.push(`${name}: ${state}`);
    return part;
  });
  if (parts.length === old.children.length && parts.every((part, at) => part === old.children[at])) return changes;
  const focus = old.contains(document.activeElement) ? locate(document.activeElement) : null;
  for (const part of parts) if (part.parentNode !== old) served.set(part, part.outerHTML);
  const kept = new Set(parts);
  for (const part of [...old.children]) if (!kept.has(part)) part.remove();
  parts.forEach((part, at) => {
    if (old.children[at] !== part) old.insertBefore(part, old.children[at] ?? null);
  });
  for (const button of old.querySelectorAll("button.copy")) button.hidden = !navigator.clipboard;
  if (focus && !old.contains(document.activeElement)) {
    document.getElementById(focus.id)?.querySelectorAll("a, button")[focus.number]?.focus();
  }
  return changes;
}

async function refresh() {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!answer.ok) throw new Error(String(answer.status));
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  const changes = [];
  for (const part of [...document.querySelectorAll("[data-live]")]) {
    const other = fresh.getElementById(part.id);
    if (!other || other.tagName !== part.tagName) {
      document.getElementById("main").replaceChildren(...fresh.getElementById("main").children);
      prepare(document);
      return [];
    }
    changes.push(...update(part, other));
  }
  return changes;
}

async function live() {
  if (!document.hidden) {
    try {
      const changes = await refresh();
      if (changes.length) status.textContent = changes.slice(0, 3).join(", ");
      else if (status.dataset.lost) status.textContent = "Updates resumed";
      delete status.dataset.lost;
    } catch {
      status.dataset.lost = "yes";
      status.textContent = "Updates paused: the bridge is not responding";
    }
  }
  setTimeout(live, INTERVAL);
}

prepare(document);
document.addEventListener("click", (event) => {
  const button = event.target.closest("button.copy");
  if (button) copy(button);
});
if (document.querySelector("[data-live]:not(#problems)")) setTimeout(live, INTERVAL);
