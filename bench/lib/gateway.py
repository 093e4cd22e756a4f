"""Gateways: claims and reports in batches, and many that take one at a time."""

from harness import BARE, PRODUCT, Failure, count, empty, lean_indexes, load, number, settle, sql, steady
import peer
from peer import BATCH

CLIENTS = 4


def fill_queue(messages):
    sql(BARE, f"""
        TRUNCATE queue RESTART IDENTITY;
        INSERT INTO queue (message)
            SELECT jsonb_build_object('device_id', (100000000000 + d)::text) FROM generate_series(1, {messages}) d;
        VACUUM ANALYZE queue;
        SELECT pg_prewarm('queue'), pg_prewarm('queue_pkey')""")
    sql('postgres', 'CHECKPOINT')


def fill_product(devices, jobs):
    empty(PRODUCT)
    load(PRODUCT, jobs, devices)
    sql(PRODUCT, f"""
        DROP TABLE IF EXISTS gateways;
        CREATE TABLE gateways AS
            SELECT d / {BATCH} AS gateway, array_agg((100000000001 + d)::text) AS device_ids
            FROM generate_series(0, {devices - 1}) d GROUP BY 1;
        ALTER TABLE gateways ADD PRIMARY KEY (gateway);
        VACUUM ANALYZE gateways""")
    settle(PRODUCT)


def batches(figures, size, profile, worker=None):
    devices, jobs = size['batch_devices'], size['batch_jobs']
    gateways = devices // BATCH
    state = {'first': 0}

    def product(script, on):
        before = count(PRODUCT, 'SUCCEEDED')
        run, rate = steady(PRODUCT, script, CLIENTS, size['batch_window'], on,
                           batch=BATCH, gateways=gateways, first=state['first'], seed=7)
        state['first'] += run.transactions
        if count(PRODUCT, 'QUEUED') == 0:
            raise Failure('the executions are used up: give the row more of them')
        return (count(PRODUCT, 'SUCCEEDED') - before) / run.transactions * rate

    def queue(on):
        before = number(BARE, 'SELECT count(*) FROM queue')
        run, rate = steady(BARE, 'queue_batch.sql', CLIENTS, size['batch_window'], on, 'queue', batch=BATCH)
        left = number(BARE, 'SELECT count(*) FROM queue')
        if left == 0:
            raise Failure('the queue ran dry')
        return (before - left) / run.transactions * rate

    for on in size['batch_sync']:
        word = 'on' if on else 'off'
        fill_product(devices, jobs)
        fill_queue(size['queue'])
        state['first'] = 0
        variants = {
            'for a list of devices': lambda: product('gateway_list.sql', on),
            'plain queue': lambda: queue(on),
            'tenant-wide': lambda: product('gateway_tenant.sql', on),
        }
        if worker:
            worker.fill(size['queue'])
            variants['graphile-worker'] = lambda: worker.batch(CLIENTS, size['batch_window'], on)
        values = figures.alternate(f'{profile}claim and report {BATCH} a call, sync {word}', variants,
                                   size['repetitions'], 'jobs/s')
        best = max((name for name in values if name in ('plain queue', 'graphile-worker')),
                   key=lambda name: sum(values[name]))
        for name in ('for a list of devices', 'tenant-wide'):
            figures.compare(f'{profile}claim and report {BATCH} a call, {CLIENTS} clients, {name}, sync {word}',
                            values[name], values[best], best, 'jobs/s', ('>=', 1.5))
        if 'graphile-worker' in values and best != 'graphile-worker':
            for name in ('for a list of devices', 'tenant-wide'):
                figures.compare(f'the same, {name}, sync {word}', values[name],
                                values['graphile-worker'], 'graphile-worker', 'jobs/s', ('>=', 1.5))
    sql(PRODUCT, 'DROP TABLE gateways')


def measure_batch(figures, size):
    worker = peer.Graphile() if figures.mode != 'quick' else None
    batches(figures, size, '', worker if worker and worker.installed else None)
    if not worker:
        figures.note('graphile-worker (npm)', 'only with --full')
    elif not worker.installed:
        figures.note('graphile-worker (npm)', f'not installed: {worker.reason}')


def measure_batch_lean(figures, size):
    with lean_indexes():
        batches(figures, size, 'lean: ')


def measure_one(figures, size):
    devices, jobs = size['devices'], 10
    fill_product(devices, jobs)
    fill_queue(size['queue'])

    def product(clients):
        before = count(PRODUCT, 'IN_PROGRESS')
        run, rate = steady(PRODUCT, 'claim_one.sql', clients, size['batch_window'], True)
        return (count(PRODUCT, 'IN_PROGRESS') - before) / run.transactions * rate

    def queue(clients):
        before = number(BARE, 'SELECT count(*) FROM queue WHERE reads > 0')
        run, rate = steady(BARE, 'queue_one.sql', clients, size['batch_window'], True, 'queue')
        return (number(BARE, 'SELECT count(*) FROM queue WHERE reads > 0') - before) / run.transactions * rate

    values = figures.alternate('tenant-wide claims of one', {
        'iot_jobs, 16 clients': lambda: product(16),
        'iot_jobs, 1 client': lambda: product(1),
        'plain queue, 16 clients': lambda: queue(16),
        'plain queue, 1 client': lambda: queue(1)}, size['repetitions'], '/s')
    figures.compare('claim_job_executions of one, 16 clients', values['iot_jobs, 16 clients'],
                    values['iot_jobs, 1 client'], '1 client', '/s', ('>=', 2.5))
    figures.compare('plain queue, 16 clients', values['plain queue, 16 clients'],
                    values['plain queue, 1 client'], '1 client', '/s', None)
    sql(PRODUCT, 'DROP TABLE gateways')
