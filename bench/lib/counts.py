"""A job and a page of jobs with their counts, beside the host's COUNT sub-selects."""

from harness import BARE, PRODUCT, empty, job_id, load, pgbench, settle


def milliseconds(database, script, transactions, **variables):
    return 1000 / pgbench(database, script, 1, transactions=transactions, **variables).tps


def measure(figures, size):
    executions = size['counted']
    page = 50

    for name, jobs, ours, theirs, target in (
            (f'describe_job of {executions:,} executions', 1, 'describe.sql', 'describe_bare.sql', 100),
            (f'list_jobs, page of {page} jobs, {executions:,} executions in all', page, 'list.sql', 'list_bare.sql', 100)):
        for database in (PRODUCT, BARE):
            empty(database)
            load(database, jobs, executions // jobs, status='SUCCEEDED')
        settle(PRODUCT, BARE)
        # the rows were written behind the back of the counters: the first to ask counts, once
        milliseconds(PRODUCT, ours, 1, job=job_id(1))
        values = figures.alternate(name, {
            # more of them, for they are short, and the first of a session loads what the others find
            'iot_jobs': lambda: milliseconds(PRODUCT, ours, 50 * size['count_calls'], job=job_id(1)),
            'COUNT sub-selects': lambda: milliseconds(BARE, theirs, size['count_calls'], job=job_id(1))},
            size['repetitions'], 'ms')
        a, b = values.values()
        figures.compare(f'{name}: times faster', a, b, 'three COUNT sub-selects a job', 'ms', ('>=', target), inverse=True)
