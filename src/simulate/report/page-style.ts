/** The look of the report: the dashboard's colours, in light and dark. */
export const STYLE = `
:root { color-scheme: light dark;
  --page: light-dark(#f4f6fa, #0e131d); --card: light-dark(#fff, #161d2b); --line: light-dark(#dfe4ee, #273147);
  --text: light-dark(#1a2233, #e6ebf5); --quiet: light-dark(#5c6780, #94a0b8);
  --steered: light-dark(#2f5bd8, #7ea2ff); --best: light-dark(#12805c, #43c795); --geography: light-dark(#b4570c, #f0a35e);
  --nearest: light-dark(#8a3fb0, #c98ae8); --bad: light-dark(#c22f3d, #ff7b86); --good: light-dark(#12805c, #43c795);
  --event: light-dark(#d9920024, #eab04a22); }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 24px 16px 60px; }
h1 { margin: 0; font-size: 26px; } h2 { margin: 0 0 4px; font-size: 18px; }
p { margin: 4px 0 12px; max-width: 85ch; } .quiet { color: var(--quiet); }
section, .tile { background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
section { margin-top: 16px; padding: 16px 18px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(136px, 1fr)); gap: 10px; }
.tile { padding: 10px 12px; border-top: 3px solid var(--line); }
.tile b { display: block; font-size: 22px; line-height: 1.3; } .tile span { color: var(--quiet); font-size: 13px; line-height: 1.35; display: block; }
.tile.good { border-top-color: var(--good); } .tile.bad { border-top-color: var(--bad); } .tile.bad b { color: var(--bad); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; margin: 8px 0; }
th { text-align: left; color: var(--quiet); font-weight: 500; } th, td { padding: 4px 10px 4px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
tr.good td:nth-child(4) { color: var(--good); } tr.bad td:nth-child(3), tr.bad td:nth-child(4) { color: var(--bad); font-weight: 600; }
svg.plot { width: 100%; height: auto; display: block; margin: 6px 0; font: 12px system-ui, sans-serif; }
.grid { stroke: var(--line); } .tick { fill: var(--quiet); font-size: 11px; } .marked { fill: var(--event); } .marked-name { fill: var(--quiet); font-size: 11px; }
.curve { fill: none; stroke-width: 1.5; stroke-linejoin: round; }
.curve.steered { stroke: var(--steered); stroke-width: 3; } .name.steered { fill: var(--steered); font-weight: 600; }
.curve.best { stroke: var(--best); stroke-width: 2; } .name.best { fill: var(--best); }
.curve.ideal { stroke: var(--quiet); stroke-dasharray: 4 4; } .name.ideal { fill: var(--quiet); }
.curve.geography { stroke: var(--geography); } .name.geography { fill: var(--geography); }
.curve.nearest { stroke: var(--nearest); } .name.nearest { fill: var(--nearest); }
.curve.limit { stroke: var(--bad); } .name.limit { fill: var(--bad); } .over-word { color: var(--bad); }
${shades()}
.bar { fill: var(--steered); }
.over { fill: var(--bad); } .down { fill: var(--line); opacity: .5; }
.map { background: var(--page); border-radius: 8px; }
.wait-0 { fill: #1a9850; } .wait-1 { fill: #7cbf5f; } .wait-2 { fill: #e3b02f; } .wait-3 { fill: #ee7a36; } .wait-4 { fill: #d13a3a; }
[class^=wait] { fill-opacity: .62; }
.site { fill: var(--text); stroke: var(--card); stroke-width: 1; } .site-name { fill: var(--text); font-size: 11px; paint-order: stroke; stroke: var(--page); stroke-width: 3px; }
.move { fill: none; stroke: var(--steered); opacity: .5; }
dt { font-weight: 600; } dd { margin: 0 0 6px; color: var(--quiet); }
`;

/** The eight shades below capacity. */
function shades(): string {
  return Array.from({ length: 8 }, (_, shade) => {
    return `.shade-${shade} { fill: var(--steered); opacity: ${(0.05 + (shade * 0.9) / 7).toFixed(2)}; }`;
  }).join(' ');
}
