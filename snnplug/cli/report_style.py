"""How a report looks: one style sheet for narrow and wide, light and dark screens, and paper."""

from __future__ import annotations

from snnplug.hardware.report_plot import COLOURS

# The same hues, lighter, with at least 4:1 of contrast against a dark page.
_ON_DARK = ("#4596d8", "#f0b030", "#2cc295", "#dc8fbc", "#93d1f5", "#f5813a", "#9c9c9c", "#d2c234")


def colour(index: int) -> str:
    """Return the colour of the series with this number, as CSS; after eight they come again."""
    place = index % len(COLOURS)
    return f"var(--c{place},{COLOURS[place]})"


def _palette(colours: tuple[str, ...]) -> str:
    return "".join(f"--c{place}:{value};" for place, value in enumerate(colours))


_LIGHT = "--ink:#1b1f24;--dim:#5b636d;--rule:#d5dae0;--paper:#fff;--card:#f5f7f9;"
_DARK = "--ink:#e8eaed;--dim:#a3abb5;--rule:#3b424b;--paper:#14171b;--card:#1d2127;"

STYLE = (
    f":root{{color-scheme:light dark;{_LIGHT}{_palette(COLOURS)}}}"
    f"@media(prefers-color-scheme:dark){{:root{{{_DARK}{_palette(_ON_DARK)}}}}}"
    """
*{box-sizing:border-box}
body{font:16px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif;color:var(--ink);
background:var(--paper);max-width:66rem;margin:0 auto;padding:1.5rem 1rem 3rem}
h1{font-size:1.7rem;line-height:1.25;margin:.5rem 0}h1,h2,h3,td,summary{overflow-wrap:anywhere}
h2{font-size:1.3rem;margin:2.5rem 0 .5rem}h3{font-size:1.05rem;margin:1.8rem 0 .5rem}
h4{font-size:.95rem;margin:0 0 .4rem;overflow-wrap:anywhere}
details{border-top:1px solid var(--rule);padding:.9rem 0}
summary{cursor:pointer;font-weight:600}details.run>summary{font-size:1.3rem}
.sub,.note,.legend,figcaption span{color:var(--dim)}.note,.legend{font-size:.9rem}
.note{max-width:46rem;margin:.5rem 0}.sub{margin:0 0 1rem}
.cards{display:flex;flex-wrap:wrap;gap:.7rem}
.cards div{flex:1 1 8.2rem;background:var(--card);border-radius:.5rem;padding:.6rem .8rem;
font-size:.85rem;color:var(--dim);line-height:1.3}
.cards b{display:block;white-space:nowrap;font-size:1.45rem;color:var(--ink);
font-variant-numeric:tabular-nums}
.cards small{display:block;font-size:.85rem}
.grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,22rem),1fr));
gap:1.2rem 2rem;align-items:start}
.grid>*{min-width:0;max-width:40rem;margin:0}
.grid.three{grid-template-columns:repeat(auto-fit,minmax(min(100%,19rem),1fr))}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.92rem;
font-variant-numeric:tabular-nums}
th,td{padding:.25rem 1rem .25rem 0;text-align:right;border-bottom:1px solid var(--rule)}
th{color:var(--dim);font-weight:600;white-space:nowrap}td{white-space:nowrap}
th:first-child,td:first-child{text-align:left;min-width:8rem;white-space:normal}
.fields td{text-align:left;white-space:normal}.fields th{text-align:left;white-space:normal}
.swatch{display:inline-block;width:.75em;height:.75em;border-radius:.15em;margin-right:.4em}
.legend span{margin-right:1.1rem;display:inline-block}.legend{margin:.5rem 0}
.bars{display:grid;grid-template-columns:fit-content(40%) minmax(3rem,1fr) max-content;
gap:.35rem .7rem;align-items:center;font-size:.92rem;font-variant-numeric:tabular-nums}
.bars>span{overflow-wrap:anywhere;line-height:1.2}.bars>span:nth-child(3n+1){text-align:right}
.bar{position:relative;display:flex;height:1.25rem}
.bar i{flex:none;height:100%}
.bar u{position:absolute;top:50%;height:.5rem;margin-top:-.25rem;
border:solid var(--ink);border-width:0 1.5px;
background:linear-gradient(var(--ink),var(--ink)) center/100% 1.5px no-repeat;opacity:.75}
svg{display:block;width:100%;height:auto}
svg text{font:13.5px system-ui,-apple-system,"Segoe UI",sans-serif;fill:var(--dim)}
svg text.title{font-weight:600;font-size:14.5px;fill:var(--ink)}
.frame{fill:none;stroke:var(--rule)}.rule{stroke:var(--rule);stroke-width:.6}
.route{fill:none;stroke-width:1.8;stroke-linejoin:round}.faint{opacity:.3}
.front{fill:none;stroke:var(--dim);stroke-width:1.2;stroke-dasharray:2 3}
figure{margin:0}figcaption{font-size:.9rem;line-height:1.25;margin:.7rem 0 .2rem;
overflow-wrap:anywhere}
.raster{border:1px solid var(--rule);border-radius:.2rem}.raster path{fill:none}
.ticks{position:relative;height:1.2rem;font-size:.8rem;color:var(--dim)}
.axis{text-align:right;font-size:.8rem;color:var(--dim)}
.ticks span{position:absolute;transform:translateX(-50%)}
pre{overflow-x:auto;font-size:.82rem}footer{margin-top:2.5rem;font-size:.85rem;color:var(--dim)}
.bar i,.swatch,.cards div{print-color-adjust:exact;-webkit-print-color-adjust:exact}
@media print{body{max-width:none}.grid>*,.cards,.bars,figure{break-inside:avoid}}
"""
)
