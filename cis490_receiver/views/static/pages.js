// What makes the pages better where scripts run. Without it everything works, by links and forms.

document.documentElement.classList.add("js");

for (const button of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.parentElement.querySelector("pre").innerText);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
}

const fleet = document.getElementById("fleet");
const search = fleet && fleet.querySelector("input[type=search]");
const keyOf = (row) => row.cells[0].textContent;

// Rows that did not change stay what they are, so nothing flickers, and the focus and a selection stay.
function swapRows(old, fresh) {
  const known = new Map([...old.rows].map((row) => [keyOf(row), row]));
  const focused = old.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  let place = old.firstElementChild;
  for (const row of [...fresh.rows]) {
    let kept = known.get(keyOf(row));
    known.delete(keyOf(row));
    if (kept && kept.innerHTML === row.innerHTML && kept.classList[0] === row.classList[0]) {
      kept.classList.remove("changed");
    } else {
      const was = kept;
      kept = document.importNode(row, true);
      if (was) {
        // An age alone that went on is no news.
        if (was.cells[1].textContent !== kept.cells[1].textContent) kept.classList.add("changed");
        if (place === was) place = was.nextElementSibling;
        was.remove();
      }
    }
    if (kept === place) place = place.nextElementSibling;
    else old.insertBefore(kept, place);
  }
  for (const row of known.values()) row.remove();
  if (focused && !old.contains(document.activeElement)) {
    const link = old.querySelector(`a[href="${CSS.escape(focused)}"]`);
    if (link) link.focus({ preventScroll: true });
  }
}

function swap(fresh) {
  document.title = fresh.title;
  for (const part of fleet.querySelectorAll("[data-part]")) {
    const other = fresh.querySelector(`[data-part="${part.dataset.part}"]`);
    if (other && other.innerHTML !== part.innerHTML && !part.contains(document.activeElement)) {
      part.replaceChildren(...[...other.childNodes].map((node) => document.importNode(node, true)));
    }
  }
  const rows = fleet.querySelector("[data-rows]");
  const freshRows = fresh.querySelector("[data-rows]");
  if (rows && freshRows) swapRows(rows, freshRows);
}

let asked = 0;
async function refresh() {
  const mine = ++asked;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
    if (answer.redirected) return location.reload();
    if (!answer.ok) throw new Error(answer.statusText);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    // A later question is under way, and its answer is the newer one.
    if (mine === asked) swap(fresh);
  } catch {
    const notice = fleet.querySelector("[data-notice]");
    if (notice) notice.textContent = "· not refreshed: the receiver does not answer";
  }
}

if (fleet) {
  setInterval(() => { if (!document.hidden) refresh(); }, Number(fleet.dataset.refresh) * 1000);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
}

if (search) {
  let waiting = 0;
  search.addEventListener("input", () => {
    const address = new URL(location.href);
    const text = search.value.trim();
    if (text) address.searchParams.set("q", text);
    else address.searchParams.delete("q");
    history.replaceState(null, "", address);
    clearTimeout(waiting);
    waiting = setTimeout(refresh, 150);
  });
  search.form.addEventListener("submit", (event) => { event.preventDefault(); refresh(); });
}
