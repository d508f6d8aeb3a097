// The pages work without this script. It keeps them up to date, and tells the server the browser's time zone.
"use strict";
(() => {
  const root = document.documentElement;
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone && root.dataset.zone !== zone && !document.cookie.includes("rideau_zone=")) {
    document.cookie = "rideau_zone=" + encodeURIComponent(zone) + "; Path=/; Max-Age=31536000; SameSite=Strict";
    if (document.cookie.includes("rideau_zone=") && location.search === "") { location.reload(); return; }
  }
  const bar = document.querySelector("[data-stream]");
  if (!bar || !window.EventSource) return;
  const button = bar.querySelector("button"), told = bar.querySelector("span");
  let source = null, delay = 5000, timer = 0;
  const replace = html => {
    const next = new DOMParser().parseFromString(html, "text/html");
    for (const fresh of next.querySelectorAll("[data-live]")) {
      const old = document.getElementById(fresh.id);
      // What somebody uses at this moment stays as it is.
      if (!old || old.innerHTML === fresh.innerHTML || old.contains(document.activeElement)) continue;
      const selected = getSelection();
      if (selected && !selected.isCollapsed && old.contains(selected.anchorNode)) continue;
      for (const d of old.querySelectorAll("details[open]")) {
        const same = d.id && fresh.querySelector("#" + CSS.escape(d.id));
        if (same) same.open = true;
      }
      const across = [...old.querySelectorAll(".wide")].map(e => e.scrollLeft);
      old.className = fresh.className;
      old.replaceChildren(...fresh.childNodes);
      old.querySelectorAll(".wide").forEach((e, i) => { e.scrollLeft = across[i] || 0; });
    }
  };
  const stop = () => { clearTimeout(timer); if (source) source.close(); source = null; };
  const start = () => {
    stop();
    source = new EventSource(bar.dataset.stream);
    source.addEventListener("page", e => { delay = 5000; told.textContent = bar.dataset.sayOn; replace(JSON.parse(e.data)); });
    source.onerror = () => {
      told.textContent = bar.dataset.sayLost;
      if (source && source.readyState === EventSource.CLOSED) { stop(); timer = setTimeout(start, delay); delay = Math.min(delay * 2, 60000); }
    };
    told.textContent = bar.dataset.sayOn;
    button.textContent = bar.dataset.sayPause;
  };
  button.hidden = false;
  button.addEventListener("click", () => {
    if (source || timer) { stop(); timer = 0; told.textContent = bar.dataset.sayOff; button.textContent = bar.dataset.sayResume; } else start();
  });
  addEventListener("pagehide", stop);
  start();
})();
