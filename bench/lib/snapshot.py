"""Claims and reports at a fixed rate while one old snapshot is held."""

from harness import (BARE, PRODUCT, Session, empty, load, percentile, pgbench, settle, sql)
from gateway import fill_queue

CLIENTS = 4


def held_run(database, script, size, **variables):
    """Rate and p99 for each part of the run: (rate, p99) of the first and of the last."""
    holder = Session(database, 'BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class;')
    try:
        run = pgbench(database, script, CLIENTS, duration=size['held'], rate=size['held_rate'], log=True, **variables)
    finally:
        holder.close()
    began = run.log[0][0] - run.log[0][1]
    by_second = {}
    for end, latency, _ in run.log:
        by_second.setdefault(int(end - began), []).append(latency)
    return by_second


def part(by_second, first, last):
    latencies = [v for second in range(first, last) for v in by_second.get(second, [])]
    # nothing at all got through: as slow as the part is long
    return len(latencies) / (last - first), percentile(latencies, 0.99) if latencies else float(last - first)


def measure(figures, size):
    devices, jobs = size['held_devices'], 10
    length, window = size['held'], size['held_window']
    rows = []
    repetitions = size['held_repetitions']

    cases = [
        ('per device', PRODUCT, 'cycle_device.sql'),
        ('tenant-wide', PRODUCT, 'cycle_tenant.sql'),
        ('plain queue', BARE, 'cycle_queue.sql'),
    ]
    for name, database, script in cases:
        rates, tails = [], []
        for repetition in range(1, repetitions + 1):
            if database == PRODUCT:
                empty(PRODUCT)
                load(PRODUCT, jobs, devices)
                settle(PRODUCT)
            else:
                fill_queue(size['held_rate'] * length + 1000)
            by_second = held_run(database, script, size, devices=devices, seed=3)
            # the first two seconds are the start of the clients
            rate_first, p99_first = part(by_second, 2, 2 + window)
            rate_last, p99_last = part(by_second, length - window, length - 1)
            for what, first, last, unit in (('rate', rate_first, rate_last, '/s'),
                                            ('p99', p99_first * 1000, p99_last * 1000, 'ms')):
                figures.record(f'{name}, {what}', 'first', repetition, first, unit)
                figures.record(f'{name}, {what}', 'last', repetition, last, unit)
            rates.append((rate_last, rate_first))
            tails.append((p99_last * 1000, p99_first * 1000))
            if repetition == 1:
                rows += [(name, second, len(v), percentile(v, 0.99) * 1000)
                         for second, v in sorted(by_second.items()) if 2 <= second < length - 1]
        ours = database == PRODUCT
        figures.compare(f'snapshot held {length} s, {name}: rate', [r[0] for r in rates], [r[1] for r in rates],
                        f'its first {window} s', '/s', ('>=', 0.95) if ours else None)
        figures.compare(f'snapshot held {length} s, {name}: p99', [t[0] for t in tails], [t[1] for t in tails],
                        f'its first {window} s', 'ms', ('<=', 2.0) if ours else None)
    figures.series('held_snapshot.csv', ['how', 'second', 'per_second', 'p99_ms'], rows)
    sql(BARE, 'TRUNCATE queue')
