// Fetch the page again every few seconds and put its list in place, unless somebody is typing in the form.
"use strict";
const EVERY_MS = 10000;
async function refresh() {
  const active = document.activeElement;
  const busy = document.hidden || (active && active.closest && active.closest("form.filters"));
  if (!busy) {
    try {
      const answer = await fetch(location.href, { credentials: "same-origin", cache: "no-store" });
      if (answer.ok && !answer.redirected) {
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("live");
        const shown = document.getElementById("live");
        if (fresh && shown && fresh.innerHTML !== shown.innerHTML) shown.replaceWith(document.adoptNode(fresh));
      } else if (answer.redirected) {
        location.reload();
        return;
      }
    } catch (_) {
      // the server is away for a moment: the next turn tries again
    }
  }
  setTimeout(refresh, EVERY_MS);
}
setTimeout(refresh, EVERY_MS);
