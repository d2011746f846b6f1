"use strict";

/* Accuracy and loss over the epochs of the training. */
{
  const { h, curves, text } = atlas;

  /** Two charts, or as many as the record knows; null if it knows none. */
  atlas.historyCharts = function historyCharts(history) {
    const epochs = history.epoch || [];
    if (!epochs.length) return null;
    const lines = (measure) =>
      [
        ["training", `train_${measure}`, "first"],
        ["validation", `val_${measure}`, "second"],
      ]
        .filter(([, key]) => (history[key] || []).some(Number.isFinite))
        .map(([label, key, kind]) => ({ label, values: history[key], kind }));
    const chart = (title, measure, show) =>
      lines(measure).length ? curves(title, epochs, lines(measure), show) : null;
    const charts = [
      chart("Accuracy", "top1", (v) => text.percent(v ?? null)),
      chart("Loss", "loss", text.number),
    ].filter(Boolean);
    return charts.length ? h("section.history", {}, h("h2", {}, "Training"), charts) : null;
  };
}
