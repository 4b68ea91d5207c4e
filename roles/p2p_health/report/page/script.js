"use strict";
(() => {
  const table = document.getElementById("nodes");
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const search = document.getElementById("search");
  const state = document.getElementById("state");
  const provider = document.getElementById("provider");
  const count = document.getElementById("count");

  const shown = (row) => {
    const is = row.dataset.state;
    if (state.value === "!ok" ? is === "ok" : state.value && is !== state.value) return false;
    if (provider.value && row.dataset.provider !== provider.value) return false;
    const text = row.textContent.toLowerCase();
    return search.value.toLowerCase().split(/\s+/).every((word) => text.includes(word));
  };
  const filter = () => {
    let visible = 0;
    for (const row of rows) {
      row.hidden = !shown(row);
      if (!row.hidden) visible += 1;
    }
    count.textContent = `${visible} of ${rows.length} nodes`;
  };

  const key = (row, at) => row.cells[at].dataset.order ?? row.cells[at].textContent.trim();
  const compare = new Intl.Collator("en", { numeric: true }).compare;
  const heads = [...table.tHead.rows[0].cells];
  const sort = (at) => {
    const down = heads[at].getAttribute("aria-sort") === "ascending";
    heads.forEach((head, other) => {
      head.setAttribute("aria-sort", other === at ? (down ? "descending" : "ascending") : "none");
      head.querySelector("span").textContent = other === at ? (down ? " ↓" : " ↑") : "";
    });
    rows.sort((a, b) => (down ? -1 : 1) * compare(key(a, at), key(b, at)));
    body.append(...rows);
  };
  heads.forEach((head, at) => {
    const button = document.createElement("button");
    const arrow = document.createElement("span");
    arrow.setAttribute("aria-hidden", "true");
    button.type = "button";
    button.append(head.textContent, arrow);
    button.addEventListener("click", () => sort(at));
    head.replaceChildren(button);
  });

  for (const button of document.querySelectorAll(".copy")) {
    button.hidden = !navigator.clipboard;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(button.previousElementSibling.textContent);
      button.textContent = "copied";
      setTimeout(() => { button.textContent = "copy"; }, 1500);
    });
  }
  for (const time of document.querySelectorAll("time")) {
    const at = new Date(time.textContent);
    if (!Number.isNaN(at.getTime())) time.title = at.toLocaleString();
  }
  document.querySelector(".filters").hidden = false;
  document.querySelector(".filters").addEventListener("submit", (event) => event.preventDefault());
  for (const control of [search, state, provider]) control.addEventListener("input", filter);
  filter();
})();
