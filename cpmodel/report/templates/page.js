"use strict";
(async () => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const figures = Object.entries(read("figures"));
  const root = document.documentElement;
  if (!figures.length) {
    root.dataset.ready = "true";
    return;
  }
  if (typeof DecompressionStream === "undefined") {
    for (const [name] of figures) {
      document.getElementById(name).textContent = "This browser is too old for the figures (before 2023).";
    }
    return;
  }

  // Plotly comes compressed: unpacked, it would be most of the page
  const packed = Uint8Array.from(atob(document.getElementById("plotly").textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  document.head.append(script);

  const night = matchMedia("(prefers-color-scheme: dark)");
  const touch = matchMedia("(pointer: coarse), (hover: none)").matches;
  const dark = read("dark");
  const recoloured = (value) => {
    if (typeof value === "string") return dark[value] ?? value;
    if (Array.isArray(value)) return value.map(recoloured);
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, recoloured(inner)]));
  };
  const config = {
    responsive: true,
    displaylogo: false,
    displayModeBar: touch ? false : "hover",
    // the page sends nothing to anybody: Plotly's own bar has a button that uploads the figure
    showSendToCloud: false,
    plotlyServerURL: "",
    modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
  };
  const draw = () => {
    // paper is light, whatever the screen, and does not wait for figures to follow its width by themselves
    const printing = root.classList.contains("printing");
    return Promise.all(
      figures.map(([name, figure]) => {
        const { data, layout } = structuredClone(night.matches && !printing ? recoloured(figure) : figure);
        // a finger that drags means to scroll the page
        layout.dragmode = touch ? false : "zoom";
        if (printing) layout.width = document.getElementById(name).clientWidth;
        return Plotly.react(name, data, layout, { ...config, toImageButtonOptions: { filename: name, scale: 2 } });
      }),
    );
  };
  night.addEventListener("change", draw);
  addEventListener("beforeprint", () => {
    root.classList.add("printing");
    draw();
  });
  addEventListener("afterprint", () => {
    root.classList.remove("printing");
    draw().then(() => figures.forEach(([name]) => Plotly.Plots.resize(name)));
  });
  await draw();
  root.dataset.ready = "true";
})();
