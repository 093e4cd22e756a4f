"""The plots, as SVG written by hand: no library is needed to look at a figure."""

import csv
import math
import os
import statistics
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 760, 430
LEFT, RIGHT, TOP, BOTTOM = 80, 20, 52, 56

# told apart by people who do not see all colours alike (Okabe and Ito's palette)
COLOURS = ('#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9')


class Axis:
    """From a value to a place on paper."""

    def __init__(self, low, high, start, end, logarithmic=False):
        self.logarithmic = logarithmic
        if logarithmic:
            low, high = math.log10(low), math.log10(high)
            # a little air, so that the ends are not on the frame
            low, high = low - 0.03 * (high - low or 1), high + 0.03 * (high - low or 1)
        self.low, self.high = low, high if high > low else low + 1
        self.start, self.end = start, end

    def place(self, value):
        if self.logarithmic:
            value = math.log10(value)
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self):
        if self.logarithmic:
            return [10 ** n for n in range(math.ceil(self.low - 1e-9), math.floor(self.high + 1e-9) + 1)]
        step = 10 ** math.floor(math.log10((self.high - self.low) / 4))
        for factor in (5, 2, 1):
            if (self.high - self.low) / (step * factor) >= 4:
                step *= factor
                break
        first = math.ceil(self.low / step - 1e-9)
        return [n * step for n in range(first, math.floor(self.high / step + 1e-9) + 1)]


def label(value):
    if value == 0:
        return '0'
    if value >= 1_000_000 and value % 100_000 == 0:
        return f'{value / 1_000_000:g}M'
    if value >= 10_000:
        return f'{value / 1000:,.0f}k'
    return f'{value:,.6g}'


def text(x, y, words, anchor='middle', size=13, more=''):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}"{more}>{escape(words)}</text>'


def lines_plot(path, title, x_title, y_title, series, log_x=False, log_y=False, x_ticks=None, points=True, y_from=0):
    """series: [(name, [(x, y, low, high)...])]; low and high are the ends of a bar of range, or None."""
    xs = [p[0] for _, values in series for p in values]
    ys = [v for _, values in series for p in values for v in (p[1], p[2], p[3]) if v is not None]
    if not xs:
        return
    x_axis = Axis(min(xs), max(xs), LEFT, WIDTH - RIGHT, log_x)
    y_axis = Axis(min(ys) if log_y else y_from, max(ys) * (1 if log_y else 1.08), HEIGHT - BOTTOM, TOP, log_y)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
           f'font-family="sans-serif" fill="#222">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
           text(LEFT, 22, title, 'start', 16, ' font-weight="bold"')]
    for tick in y_axis.ticks():
        y = y_axis.place(tick)
        out += [f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#ddd"/>',
                text(LEFT - 8, y + 4, label(tick), 'end', 12)]
    for tick in x_ticks or x_axis.ticks():
        x = x_axis.place(tick)
        out += [f'<line x1="{x:.1f}" y1="{HEIGHT - BOTTOM}" x2="{x:.1f}" y2="{HEIGHT - BOTTOM + 5}" stroke="#222"/>',
                text(x, HEIGHT - BOTTOM + 20, label(tick), size=12)]
    out += [f'<path d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}" fill="none" stroke="#222"/>',
            text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14, x_title),
            text(20, (TOP + HEIGHT - BOTTOM) / 2, y_title,
                 more=f' transform="rotate(-90 20 {(TOP + HEIGHT - BOTTOM) / 2:.0f})"')]
    legend = LEFT
    for number, (name, values) in enumerate(series):
        colour = COLOURS[number % len(COLOURS)]
        dash = ' stroke-dasharray="6 4"' if number >= len(COLOURS) else ''
        places = [(x_axis.place(p[0]), y_axis.place(p[1])) for p in values]
        out.append('<polyline fill="none" stroke-width="2" stroke="{}"{} points="{}"/>'.format(
            colour, dash, ' '.join(f'{x:.1f},{y:.1f}' for x, y in places)))
        for (x, y), (_, _, low, high) in zip(places, values):
            if low is not None and high > low:
                out.append(f'<path d="M{x:.1f} {y_axis.place(low):.1f}V{y_axis.place(high):.1f}" stroke="{colour}"/>')
            if points:
                out.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>')
        out += [f'<rect x="{legend}" y="32" width="14" height="4" fill="{colour}"/>',
                text(legend + 19, 39, name, 'start', 12)]
        legend += 32 + 6.6 * len(name)
    out.append('</svg>')
    with open(path, 'w', encoding='utf-8') as output:
        output.write('\n'.join(out) + '\n')


def read(folder, name):
    path = os.path.join(folder, name)
    if not os.path.exists(path):
        return []
    with open(path, newline='', encoding='utf-8') as lines:
        return list(csv.DictReader(lines))


def grouped(rows, names, x, y):
    """[(name, [(x, median, low, high)...])] of the rows that have these names."""
    series = {}
    for row in rows:
        name = ', '.join(row[n] for n in names)
        series.setdefault(name, {}).setdefault(float(row[x]), []).append(float(row[y]))
    return [(name, [(at, statistics.median(v), min(v), max(v)) for at, v in sorted(points.items())])
            for name, points in series.items()]


def claim_by_clients(folder):
    rows = [dict(row, sync='sync ' + row['sync']) for row in read(folder, 'claim_by_clients.csv')]
    lines_plot(os.path.join(folder, 'claim_by_clients.svg'), 'Claim by device, with its document', 'clients',
               'claims per second', grouped(rows, ('how', 'sync'), 'clients', 'per_second'),
               log_x=True, x_ticks=(1, 4, 16))


def fan_out_by_size(folder):
    lines_plot(os.path.join(folder, 'fan_out_by_size.svg'), 'Fan-out, registry in random order', 'devices', 'seconds',
               grouped(read(folder, 'fan_out_by_size.csv'), ('how',), 'devices', 'seconds'), log_x=True, log_y=True)


def completion_latency(folder):
    """The share of jobs that were completed by then."""
    late = {}
    for row in read(folder, 'completion_latency.csv'):
        late.setdefault(row['load'], []).append(float(row['ms']))
    series = []
    for name, values in late.items():
        values.sort()
        # a few hundred points are as smooth as thousands
        picked = sorted({round(n * (len(values) - 1) / 300) for n in range(301)})
        series.append((name, [(max(values[i], 0.05), 100 * (i + 1) / len(values), None, None) for i in picked]))
    lines_plot(os.path.join(folder, 'completion_latency.svg'), 'From the commit of the last report to COMPLETED visible',
               'milliseconds', 'per cent of the jobs', series, log_x=True, points=False)


def held_snapshot(folder):
    # five seconds at a time: a single second says more about the system than about us
    rows = read(folder, 'held_snapshot.csv')
    width = 5 if len(rows) < 300 else 15
    series = {}
    for row in rows:
        series.setdefault(row['how'], {}).setdefault(int(row['second']) // width, []).append(float(row['per_second']))
    lines_plot(os.path.join(folder, 'held_snapshot.svg'), 'Claim and report while one old snapshot is held',
               'seconds', 'per second',
               [(name, [((at + 0.5) * width, statistics.mean(v), None, None) for at, v in sorted(points.items())
                        if len(v) == width])
                for name, points in series.items()], points=False)


def draw_all(folder):
    claim_by_clients(folder)
    fan_out_by_size(folder)
    completion_latency(folder)
    held_snapshot(folder)
