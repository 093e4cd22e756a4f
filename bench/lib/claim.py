"""Single devices: claim by device, and report."""

from harness import BARE, PRODUCT, Failure, count, empty, job_id, load, settle, sql, steady


def one_claim_run(database, script, clients, duration, on, devices, seed, **variables):
    before = count(database, 'IN_PROGRESS')
    run, rate = steady(database, script, clients, duration, on, devices=devices, seed=seed, **variables)
    claimed = count(database, 'IN_PROGRESS') - before
    # a device that was asked twice would only have resumed, which writes nothing
    if claimed != run.transactions:
        raise Failure(f'{run.transactions} claims took {claimed} executions')
    # so that the device is free for the next run; both sides get the same dead rows
    sql(database, """
        UPDATE job_executions SET status = 'SUCCEEDED', last_updated_at = now() WHERE status = 'IN_PROGRESS';
        VACUUM job_executions""")
    return rate


def measure_claim(figures, size):
    # every run takes one execution of a part of the devices
    devices, jobs = size['claim_devices'], 2 * size['repetitions']
    rates = []

    for clients in (1, 4, 16):
        for database in (PRODUCT, BARE):
            empty(database)
            load(database, jobs, devices)
        settle(PRODUCT, BARE)
        seed = 0
        for on in (True, False):
            word = 'on' if on else 'off'
            window = {'n': seed}

            def ours():
                window['n'] += 1
                return one_claim_run(PRODUCT, 'claim.sql', clients, size['window'], on, devices, window['n'])

            def theirs():
                return one_claim_run(BARE, 'claim_bare.sql', clients, size['window'], on, devices, window['n'],
                                     job=job_id((window['n'] - 1) % jobs + 1))

            case = f'claim by device, {clients} client{"s" if clients > 1 else ""}, sync {word}'
            values = figures.alternate(case, {'start_next_pending_job_execution': ours, 'UPDATE by full key': theirs},
                                       size['repetitions'], '/s')
            seed = window['n']
            a, b = values.values()
            figures.compare(case, a, b, 'UPDATE by full key', '/s', ('>=', 1.10))
            rates += [(clients, word, 'iot_jobs', v) for v in a] + [(clients, word, 'UPDATE by full key', v) for v in b]
    figures.series('claim_by_clients.csv', ['clients', 'sync', 'how', 'per_second'], rates)


def measure_report(figures, size):
    by_size = {True: [], False: []}

    for devices in size['report_job_sizes']:
        jobs = max(1, size['report_executions'] // devices)
        for database in (PRODUCT, BARE):
            empty(database)
            load(database, jobs, devices, status='IN_PROGRESS')
        settle(PRODUCT, BARE)
        first = {PRODUCT: 0, BARE: 0}

        def one_run(database, script, on):
            before = count(database, 'SUCCEEDED')
            run, rate = steady(database, script, 4, size['window'], on,
                               first=first[database], jobs=jobs, devices=devices)
            reported = count(database, 'SUCCEEDED') - before
            if reported != run.transactions:
                raise Failure(f'{run.transactions} reports ended {reported} executions')
            # clients do not keep pace: leave room, so that no execution is met twice
            first[database] += run.transactions * 2 // 4 * 4 + 400
            if first[database] >= jobs * devices:
                raise Failure('the executions are used up: give the row more of them')
            return rate

        for on in (True, False):
            case = f'report, jobs of {devices:,}, sync {"on" if on else "off"}'
            values = figures.alternate(case, {
                'update_job_execution': lambda: one_run(PRODUCT, 'report.sql', on),
                'UPDATE by full key': lambda: one_run(BARE, 'report_bare.sql', on)}, size['repetitions'], '/s')
            a, b = values.values()
            figures.compare(case, a, b, 'UPDATE by full key', '/s', ('>=', 1.05))
            by_size[on].append(a)

    for on, values in by_size.items():
        # the slowest against the fastest size, repetition by repetition
        slowest = [min(v) for v in zip(*values)]
        fastest = [max(v) for v in zip(*values)]
        figures.compare(f'report, slowest job size, sync {"on" if on else "off"}', slowest, fastest,
                        'fastest job size', '/s', ('>=', 0.95))
