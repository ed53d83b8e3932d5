// A small live plot in SVG: dots, an area, or bars over time.

const SVG = 'http://www.w3.org/2000/svg';

function s(tag, attributes) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

/**
 * `kind`: 'dots' | 'area' | 'bars'; `span`: milliseconds from left to right at first; `least`: what the scale shows at
 * least; `h`: the element maker; `title`: the key of its name; `unit`: what stands behind its values.
 */
export class Plot {
  constructor({ kind, span, least, h, title, unit, digits = 0 }) {
    Object.assign(this, { kind, span, least, digits, unit, points: [], shades: [] });
    this.shade = s('path', { class: 'plot-shade' });
    this.mark = s('path', { class: `plot-${kind}` });
    this.value = h('span', { class: 'plot-value' }, '–');
    this.top = h('span', { class: 'plot-top' });
    const box = s('svg', { viewBox: '0 0 1000 100', preserveAspectRatio: 'none', 'aria-hidden': 'true' });
    box.append(this.shade, s('path', { class: 'plot-grid', d: 'M0 50H1000' }), this.mark);
    this.node = h('figure', { class: 'plot' },
      h('figcaption', {}, h('span', { class: 'plot-name', say: title }), this.value),
      h('div', { class: 'plot-box' }, box, this.top));
  }

  add(at, value) {
    this.points.push([at, value]);
    this.#soon();
  }

  set(points) {
    this.points = points;
    this.#soon();
  }

  /** Marks a stretch of time from here on: under load. */
  shadeFrom(at) {
    this.from = at;
    this.#soon();
  }

  /** What stands beside the name. */
  show(value) {
    this.value.textContent = value === undefined ? '–' : `${value.toFixed(this.digits)} ${this.unit}`;
  }

  #soon() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => { this.waiting = false; this.#draw(); });
  }

  #draw() {
    const last = Math.max(this.span, ...this.points.map(([at]) => at));
    const most = Math.max(this.least, ...this.points.map(([, value]) => value));
    const scale = nice(most);
    const x = (at) => (at / last * 1000).toFixed(1);
    const y = (value) => (98 - value / scale * 94).toFixed(2);
    this.top.textContent = `${scale} ${this.unit}`;
    this.shade.setAttribute('d', this.from === undefined ? '' : `M${x(this.from)} 0H1000V100H${x(this.from)}Z`);
    this.mark.setAttribute('d', this[this.kind](x, y));
  }

  /** A line of no length is a dot, round however the picture is stretched. */
  dots(x, y) {
    return this.points.map(([at, value]) => `M${x(at)} ${y(value)}h0`).join('');
  }

  area(x, y) {
    const [first, ...rest] = this.points.map(([at, value]) => `${x(at)} ${y(value)}`);
    if (first === undefined) return '';
    const [start, end] = [this.points[0][0], this.points.at(-1)[0]];
    return `M${x(start)} 98L${[first, ...rest].join('L')}L${x(end)} 98Z`;
  }

  bars(x, y) {
    return this.points.filter(([, value]) => value > 0).map(([at, value]) => `M${x(at)} 98V${y(value)}`).join('');
  }
}

/** The next of 1, 2, 5, 10, 20, ... */
function nice(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value);
}
