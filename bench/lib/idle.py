"""What a server does that has nothing to do, and what it does when little changed."""

import itertools
import os
import time

from harness import (PRODUCT, TENANT, device_id, empty, job_id, load, settle, sql, wait_until)

TICK = os.sysconf('SC_CLK_TCK')


def processes():
    return [int(pid) for pid in
            sql('postgres', f"""SELECT pid FROM pg_stat_activity
                WHERE backend_type LIKE 'iot_jobs%' AND (datname = '{PRODUCT}') IS NOT FALSE""").split()]


def cpu_seconds(pids):
    """Time on a core, to the nanosecond where the kernel keeps it."""
    total = 0.0
    for pid in pids:
        try:
            with open(f'/proc/{pid}/schedstat', encoding='ascii') as stat:
                total += int(stat.read().split()[0]) / 1e9
        except FileNotFoundError:
            # it left in the meantime, or this kernel keeps ticks only
            if os.path.exists(f'/proc/{pid}/stat'):
                with open(f'/proc/{pid}/stat', encoding='ascii') as stat:
                    words = stat.read().rsplit(')', 1)[1].split()
                    total += (int(words[11]) + int(words[12])) / TICK
    return total


def worker_at_rest(database):
    wait_until('postgres', f"""NOT EXISTS (
        SELECT FROM pg_stat_activity WHERE backend_type LIKE 'iot_jobs%' AND datname = '{database}'
        AND (state IS DISTINCT FROM 'idle' AND wait_event_type IS DISTINCT FROM 'Extension'
             OR clock_timestamp() - xact_start > '0'))""")


def quiet_server():
    """Nobody but the extension may be the cause of what is seen."""
    sql('postgres', 'ALTER SYSTEM SET autovacuum = off')
    sql('postgres', 'SELECT pg_reload_conf()')
    settle(PRODUCT)
    worker_at_rest(PRODUCT)
    sql('postgres', 'CHECKPOINT')
    # statistics of what was done are flushed, and the log of running transactions is written
    time.sleep(2)
    sql('postgres', 'CHECKPOINT')


def busy_server():
    sql('postgres', 'ALTER SYSTEM RESET autovacuum')
    sql('postgres', 'SELECT pg_reload_conf()')


def measure_idle(figures, size):
    open_jobs, length = size['open_jobs'], size['idle']
    values = {'transactions': [], 'WAL': [], 'CPU': []}

    empty(PRODUCT)
    load(PRODUCT, open_jobs, 1)
    sql(PRODUCT, f"UPDATE jobs SET expires_at = now() + interval '1 day'")
    # somebody has called, as on every server in use
    sql(PRODUCT, f"SELECT describe_job('{TENANT}', '{job_id(1)}')")
    quiet_server()
    try:
        for repetition in range(1, size['repetitions'] + 1):
            # the session that looks is in another database, so that it does not count itself
            look = f"""SELECT xact_commit + xact_rollback, pg_current_wal_insert_lsn() - '0/0'
                FROM pg_stat_database WHERE datname = '{PRODUCT}'"""
            pids = processes()
            transactions, wal = (float(v) for v in sql('postgres', look).split('|'))
            cpu, began = cpu_seconds(pids), time.monotonic()
            time.sleep(length)
            cpu_after, ended = cpu_seconds(pids), time.monotonic()
            transactions_after, wal_after = (float(v) for v in sql('postgres', look).split('|'))
            for name, value, unit in (('transactions', transactions_after - transactions, ''),
                                      ('WAL', wal_after - wal, 'bytes'),
                                      ('CPU', 100 * (cpu_after - cpu) / (ended - began), '% of a core')):
                figures.record(f'idle for {length} s', name, repetition, value, unit)
                values[name].append(value)
    finally:
        busy_server()
    for name, unit, bound in (('transactions', '', 0), ('WAL', 'bytes', 0), ('CPU', '% of a core', 0.1)):
        figures.absolute(f'idle {length} s, {open_jobs:,} jobs open: {name}', values[name], unit, ('<=', bound))


def measure_pass(figures, size):
    many, few, changed = size['open_jobs'], 10, 10
    rounds = size['passes']
    # no job id twice: what is measured is a job that the server has never heard of
    ids = itertools.count(10_000_000, changed)

    def passes(open_jobs):
        """CPU time of the worker for a commit that ends the last execution of ten jobs, in ms."""
        empty(PRODUCT)
        load(PRODUCT, open_jobs, 1, first_job=1_000_000)
        settle(PRODUCT)
        worker_at_rest(PRODUCT)
        used = []
        for _ in range(rounds):
            first = next(ids)
            load(PRODUCT, changed, 1, status='IN_PROGRESS', first_job=first)
            worker_at_rest(PRODUCT)
            pids = processes()
            before = cpu_seconds(pids)
            sql(PRODUCT, f"""
                SELECT count(*) FROM update_job_executions('{TENANT}', (
                    SELECT jsonb_agg(jsonb_build_object('job_id', job_id, 'device_id', '{device_id(1)}', 'status', 'SUCCEEDED'))
                    FROM jobs WHERE tenant_id = '{TENANT}'
                    AND job_id BETWEEN '{job_id(first)}' AND '{job_id(first + changed - 1)}'))""")
            wait_until(PRODUCT, f"""count(*) = {changed} FROM jobs
                WHERE tenant_id = '{TENANT}' AND job_id BETWEEN '{job_id(first)}' AND '{job_id(first + changed - 1)}' AND status = 'COMPLETED'""")
            worker_at_rest(PRODUCT)
            if processes() == pids:
                used.append(1000 * (cpu_seconds(pids) - before))
        used.sort()
        return used[len(used) // 2]

    values = figures.alternate(f'worker, {changed} jobs changed', {
        f'{many:,} jobs open': lambda: passes(many),
        f'{few} jobs open': lambda: passes(few)}, size['repetitions'], 'ms CPU')
    a, b = values.values()
    figures.compare(f'worker, {changed} of {many:,} open jobs changed', a, b, f'{few} jobs open', 'ms CPU', ('<=', 1.5))
