"""Expiry and cancel of a whole job, beside one bare UPDATE, while other devices claim."""

import time

from harness import (BARE, LONG, PRODUCT, TENANT, Failure, Pgbench, empty, job_id, lean_indexes, load, number, percentile,
                     seconds, settle, sql)

JOB = job_id(1)
# the devices of the claims beside it
BASE = 2_000_000
WARM_UP, ALONE = 1.0, 3.0


def ended(database, status, size):
    if number(database, f"SELECT count(*) FROM job_executions WHERE job_id = '{JOB}' AND status = '{status}'") != size:
        raise Failure(f'not every execution became {status}')


def expire(size, wait='wait_for_completion'):
    """From the deadline to COMPLETED, by the clock of the rows; and what was the longest to whoever waits so."""
    deadline = f"clock_timestamp() + interval '300 ms'"
    longest = float(sql(PRODUCT, f"""
        SELECT status FROM update_job('{TENANT}', '{JOB}', {deadline}) \\g /dev/null
        CALL {wait}('{JOB}')"""))
    took = number(PRODUCT, f"SELECT extract(epoch FROM updated_at - expires_at) FROM jobs WHERE job_id = '{JOB}'")
    ended(PRODUCT, 'TIMED_OUT', size)
    return took, longest


def cancel(size):
    took = seconds(PRODUCT, f"SELECT * FROM cancel_job('{TENANT}', '{JOB}')")
    ended(PRODUCT, 'REJECTED', size)
    return took, took


def update(size):
    took = seconds(BARE, f"""
        UPDATE job_executions SET status = 'TIMED_OUT', last_updated_at = now()
        WHERE tenant_id = '{TENANT}' AND job_id = '{JOB}' AND status = 'QUEUED'""")
    ended(BARE, 'TIMED_OUT', size)
    return took, took


def masses(figures, size, profile, target):
    executions, others = size['mass'], size['mass_others']
    seen = {}

    def one(name, database, script, work):
        empty(database)
        load(database, 1, executions)
        load(database, 1, others, first_job=2, first_device=BASE + 1)
        settle(database)
        beside = Pgbench(database, script, 4, duration=LONG, rate=size['claim_rate'], threads=1, log=True,
                         base=BASE, devices=others, seed=5)
        try:
            time.sleep(WARM_UP + ALONE)
            began = time.time()
            took, longest = work(executions)
            over = time.time()
        finally:
            log = beside.finish(now=True).log
        alone = [latency for end, latency, _ in log if began - ALONE <= end < began]
        during = [latency for end, latency, _ in log if began <= end <= over]
        tails = percentile(during, 0.99) * 1000, percentile(alone, 0.99) * 1000
        seen.setdefault(name, []).append((tails, longest * 1000))
        figures.record(f'{profile}claims beside {name}', 'p99 during', len(seen[name]), tails[0], 'ms')
        figures.record(f'{profile}claims beside {name}', 'p99 before', len(seen[name]), tails[1], 'ms')
        return took

    values = figures.alternate(f'{profile}{executions:,} QUEUED executions', {
        'expiry': lambda: one('expiry', PRODUCT, 'claim_elsewhere.sql', expire),
        'bare UPDATE': lambda: one('bare UPDATE', BARE, 'claim_elsewhere_bare.sql', update),
        'cancel_job': lambda: one('cancel_job', PRODUCT, 'claim_elsewhere.sql', cancel),
    }, size['mass_repetitions'], 's')
    for name in ('expiry', 'cancel_job'):
        figures.compare(f'{profile}{name} of {executions:,} QUEUED', values[name], values['bare UPDATE'],
                        'one bare UPDATE', 's', ('<=', target))
    for name in ('expiry', 'cancel_job', 'bare UPDATE'):
        figures.compare(f'{profile}{size["claim_rate"]:,} claims/s beside {name}: p99',
                        [tails[0] for tails, _ in seen[name]], [tails[1] for tails, _ in seen[name]],
                        'the same before', 'ms', ('<=', 1.5) if name != 'bare UPDATE' else None)
    figures.absolute(f'{profile}longest transaction of the worker while it expires',
                     [longest for _, longest in seen['expiry']], 'ms', None)

    case = f'{profile}longest wait for the row of the job while it expires'
    waits = []
    for repetition in range(1, size['mass_repetitions'] + 1):
        empty(PRODUCT)
        load(PRODUCT, 1, executions)
        settle(PRODUCT)
        waits.append(expire(executions, 'ask_until_completion')[1] * 1000)
        figures.record(case, 'SELECT FOR NO KEY UPDATE', repetition, waits[-1], 'ms')
    figures.absolute(case, waits, 'ms', ('<=', 100))


def measure(figures, size):
    masses(figures, size, '', 0.80)


def measure_lean(figures, size):
    with lean_indexes():
        masses(figures, size, 'lean: ', 0.25)
