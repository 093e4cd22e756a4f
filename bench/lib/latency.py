"""From the cause to the effect: completion after the last report, expiry after the deadline."""

from harness import (LONG, PRODUCT, Pgbench, device_id, empty, job_id, load, percentile, settle, sql)

# jobs of the row itself are numbered from here, far from those that are only open
FIRST = 900_000


def samples(kind):
    return [float(v) for v in sql(PRODUCT, f"SELECT seconds FROM latencies WHERE kind = '{kind}' ORDER BY measured_at").split()]


def measure_completion(figures, size):
    open_jobs, probes = 10_000, size['completions']
    devices = size['load_devices']
    rows = []

    for kind in ('idle', 'under load'):
        values = []
        for repetition in range(1, size['repetitions'] + 1):
            empty(PRODUCT)
            sql(PRODUCT, 'TRUNCATE latencies')
            load(PRODUCT, open_jobs, 1, status='IN_PROGRESS', first_job=1000)
            load(PRODUCT, 4, devices, first_device=100)
            load(PRODUCT, probes, 1, status='IN_PROGRESS', first_job=FIRST)
            settle(PRODUCT)
            background = None
            if kind == 'under load':
                background = Pgbench(PRODUCT, 'cycle_loaded.sql', 4, duration=LONG, rate=size['load_rate'], threads=1,
                                     devices=devices, base=99, seed=5)
            try:
                sql(PRODUCT, f"CALL measure_completion('{kind}', {job_id(FIRST)}, {probes}, '{device_id(1)}')")
            finally:
                if background:
                    background.finish(now=True)
            late = samples(kind)
            values.append(late)
            for what, share in (('p50', 0.5), ('p99', 0.99)):
                figures.record(f'completion, {kind}', what, repetition, percentile(late, share) * 1000, 'ms')
            rows += [(kind, v * 1000) for v in late]
        for what, share, target in (('p50', 0.5, 3), ('p99', 0.99, 20)):
            figures.absolute(f'last report to COMPLETED, {open_jobs:,} jobs open, {kind}: {what}',
                             [percentile(late, share) * 1000 for late in values], 'ms', ('<=', target))
    figures.series('completion_latency.csv', ['load', 'ms'], rows)


def measure_expiry(figures, size):
    probes, values = size['expiries'], []
    for repetition in range(1, size['repetitions'] + 1):
        empty(PRODUCT)
        sql(PRODUCT, 'TRUNCATE latencies')
        load(PRODUCT, 10_000, 1)
        sql(PRODUCT, f"INSERT INTO devices (tenant_id, device_id) VALUES ('tenant-0001', '{device_id(1)}')")
        settle(PRODUCT)
        sql(PRODUCT, f"CALL measure_expiry('expiry', {probes}, '{device_id(1)}', interval '200 ms')")
        late = samples('expiry')
        values.append(percentile(late, 0.99) * 1000)
        figures.record('expiry, idle', 'p50', repetition, percentile(late, 0.5) * 1000, 'ms')
        figures.record('expiry, idle', 'p99', repetition, values[-1], 'ms')
    figures.absolute('expires_at to TIMED_OUT, idle: p99', values, 'ms', ('<=', 50))
