"use strict";
// Rows come ready-made (and escaped) from the server; a row that is there already is replaced when its answer has ended.
(() => {
  const rows = document.getElementById("rows");
  const live = document.getElementById("live");
  if (!rows || !live || !window.EventSource) return;
  const most = 100;
  let fresh = 0;
  let announced = 0;
  let version = live.dataset.version;

  function place(html) {
    const holder = document.createElement("tbody");
    holder.innerHTML = html;
    const row = holder.firstElementChild;
    if (!row) return;
    const old = document.getElementById(row.id);
    if (old) { old.replaceWith(row); return; }
    rows.prepend(row);
    fresh += 1;
    while (rows.children.length > most) rows.lastElementChild.remove();
  }

  function announce() {
    if (fresh !== announced) {
      announced = fresh;
      live.textContent = fresh === 1 ? "Live: 1 new decision." : `Live: ${fresh} new decisions.`;
    }
  }

  const source = new EventSource(`/events?after=${encodeURIComponent(version)}`);
  source.addEventListener("decision", (event) => place(event.data));
  source.addEventListener("open", () => { if (fresh === 0) live.textContent = "Live: waiting for decisions."; });
  source.addEventListener("error", () => { live.textContent = "The connection was lost; trying again."; announced = -1; });
  // A screen reader hears of new rows at most every five seconds.
  setInterval(announce, 5000);
})();
