"""Single devices: claim by device, and report."""

from harness import (BARE, LEAST, PRODUCT, Failure, count, empty, lean_indexes, load, load_least, number, settle, sql,
                     steady, wait_until)

# executions of each device when a row begins, if there is a backlog
BACKLOG = 10


class Turns:
    """Which execution comes next, for each side; none is met twice."""

    def __init__(self, total):
        self.total = total
        self.first = {PRODUCT: 0, BARE: 0, LEAST: 0}
        self.changed = 0            # by the last run

    def run(self, database, script, clients, duration, on, status, **variables):
        before = count(database, status)
        run, rate = steady(database, script, clients, duration, on, first=self.first[database], **variables)
        # that they did what they were to do, all of them
        self.changed = count(database, status) - before
        if self.changed != run.transactions:
            raise Failure(f'{run.transactions} transactions made {self.changed} executions {status}')
        # clients do not keep pace: leave room for the one that was ahead
        self.first[database] += run.transactions * 3 // 2 + 1000
        if self.first[database] >= self.total:
            raise Failure('the executions are used up: give the row more of them')
        return rate


def claims(figures, size, kind, numbers, target, queued=BACKLOG, least=False):
    """least: also beside the least that any UPDATE can be."""
    devices = size['claim_devices'] * BACKLOG // queued
    turns = Turns(devices * queued)
    rates = []

    for database in (PRODUCT, BARE):
        empty(database)
        load(database, queued, devices)
    if least:
        load_least(devices * queued)
    settle(PRODUCT, BARE)

    def claim(database, script, clients, on):
        rate = turns.run(database, script, clients, size['window'], on, 'IN_PROGRESS', devices=devices)
        # a device has one execution at a time; both sides get the same dead rows
        sql(database, """
            UPDATE job_executions SET status = 'SUCCEEDED', last_updated_at = now() WHERE status = 'IN_PROGRESS';
            VACUUM job_executions""")
        return rate

    for clients in numbers:
        for on in size['claim_sync']:
            word = 'on' if on else 'off'
            case = f'{kind}claim by device, {clients} client{"s" if clients > 1 else ""}, sync {word}'
            variants = {
                'start_next_pending_job_execution': lambda: claim(PRODUCT, 'claim.sql', clients, on),
                'UPDATE by full key': lambda: claim(BARE, 'claim_bare.sql', clients, on)}
            if least:
                variants['UPDATE of one index'] = lambda: claim(LEAST, 'claim_least.sql', clients, on)
            a, b, *c = figures.alternate(case, variants, size['repetitions'], '/s').values()
            figures.compare(case, a, b, 'UPDATE by full key', '/s', ('>=', target))
            if least:
                figures.compare(f'{case}: the same', a, c[0], 'UPDATE of one index', '/s', None)
                figures.compare(f'{case}: that UPDATE of one index', c[0], b, 'UPDATE by full key', '/s', None)
            rates += [(clients, word, 'iot_jobs', v) for v in a] + [(clients, word, 'UPDATE by full key', v) for v in b]
    return rates


def measure_claim(figures, size):
    rates = claims(figures, size, '', (1, 4, 16), 1.10)
    figures.series('claim_by_clients.csv', ['clients', 'sync', 'how', 'per_second'], rates)


def measure_claim_single(figures, size):
    claims(figures, size, 'one queued: ', size['single_clients'], 1.10, queued=1)


def measure_claim_lean(figures, size):
    with lean_indexes():
        claims(figures, size, 'lean: ', size['lean_clients'], 1.9)


def measure_claim_lean_single(figures, size):
    with lean_indexes():
        claims(figures, size, 'lean, one queued: ', size['lean_clients'], 1.9, queued=1, least=True)


def completed():
    return number(PRODUCT, "SELECT count(*) FROM jobs WHERE status = 'COMPLETED'")


def measure_report(figures, size):
    by_size = {on: [] for on in size['report_sync']}

    for devices in size['report_job_sizes']:
        jobs = max(1, size['report_executions'] // devices)
        turns = Turns(jobs * devices)
        for database in (PRODUCT, BARE):
            empty(database)
            load(database, jobs, devices, status='IN_PROGRESS')
        settle(PRODUCT, BARE)

        def report(database, script, on):
            # what the worker has left to complete must not slow down whoever comes next
            wait_until(PRODUCT, """NOT EXISTS (SELECT FROM iot_jobs_worker
                WHERE database = current_database() AND state NOT IN ('idle', 'asleep'))""")
            before = completed()
            rate = turns.run(database, script, 4, size['window'], on, 'SUCCEEDED', jobs=jobs, devices=devices)
            if database == PRODUCT:
                meanwhile.append(100 * (completed() - before) / turns.changed)
            return rate

        for on in size['report_sync']:
            case = f'report, jobs of {devices:,}, sync {"on" if on else "off"}'
            meanwhile = []
            values = figures.alternate(case, {
                'update_job_execution': lambda: report(PRODUCT, 'report.sql', on),
                'UPDATE by full key': lambda: report(BARE, 'report_bare.sql', on)}, size['repetitions'], '/s')
            a, b = values.values()
            figures.compare(case, a, b, 'UPDATE by full key', '/s', ('>=', 1.05))
            by_size[on].append(a)
            if devices == 1:
                figures.absolute(f'{case}: of them COMPLETED when the clients stop', meanwhile, '%', None)

    for on, values in by_size.items():
        # the slowest against the fastest size, repetition by repetition
        slowest = [min(v) for v in zip(*values)]
        fastest = [max(v) for v in zip(*values)]
        figures.compare(f'report, slowest job size, sync {"on" if on else "off"}', slowest, fastest,
                        'fastest job size', '/s', ('>=', 0.95))
