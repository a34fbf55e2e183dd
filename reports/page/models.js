"use strict";
/* Meshes in the close-up of a job: a button beside the link to a mesh, which shows it. Nothing is loaded before. */

(() => {
  const dialog = document.querySelector("dialog.close-up");

  /** Run a script of the page's folder, once. */
  const run = (src) => new Promise((done, failed) => {
    const there = document.querySelector(`script[src="${src}"]`);
    if (there) { done(); return; }
    const script = document.createElement("script");
    script.src = src;
    script.onload = done;
    script.onerror = () => { script.remove(); failed(new Error(src)); };
    document.head.append(script);
  });

  /** The mesh of a link as an address that the viewer can read: a page from the disk has no other. */
  const address = async (href) => {
    await run(href.replace(/glb$/, "js"));
    const bytes = Uint8Array.from(atob(window.meshes[href]), (c) => c.charCodeAt(0));
    return URL.createObjectURL(new Blob([bytes], { type: "model/gltf-binary" }));
  };

  const show = async (button, link) => {
    button.disabled = true;
    button.textContent = "Loading …";
    try {
      await run("model-viewer.js");
      const viewer = document.createElement("model-viewer");
      for (const [name, value] of [["camera-controls", ""], ["interaction-prompt", "none"], ["camera-orbit", "0deg 75deg auto"], ["alt", "The mesh of this job; drag or use the arrow keys to turn it"]]) viewer.setAttribute(name, value);
      Object.assign(viewer.style, { display: "block", width: "100%", height: "min(60vh, 480px)", background: "#999" });
      const source = await address(link.getAttribute("href"));
      viewer.addEventListener("load", () => URL.revokeObjectURL(source));
      viewer.addEventListener("error", () => { button.hidden = false; button.textContent = "It cannot be shown here"; viewer.remove(); });
      viewer.src = source;
      button.hidden = true;
      dialog.querySelector(".inside .note").after(viewer);
      viewer.focus();
    } catch (error) {
      button.textContent = "It cannot be shown here";
    }
  };

  new MutationObserver(() => {
    for (const link of dialog.querySelectorAll('a[href^="meshes/"]:not([data-shown])')) {
      link.dataset.shown = "";
      const button = document.createElement("button");
      button.type = "button";
      button.className = "model";
      button.textContent = "Show in 3D";
      button.addEventListener("click", () => show(button, link));
      link.after(" ", button);
    }
  }).observe(dialog.querySelector(".inside"), { childList: true });
  dialog.addEventListener("close", () => dialog.querySelector("model-viewer")?.remove());
})();
