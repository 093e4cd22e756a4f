"""Runs the rows and prints the table.  Started by bench/run inside its scratch folder."""

import argparse
import os
import platform
import re
import subprocess
import sys
import time

import claim
import counts
import fanout
import gateway
import idle
import latency
import mass
import plot
import snapshot
from harness import Failure, Figures, create_databases, met, say, sql

ROWS = {
    'fan-out': fanout.measure,
    'claim': claim.measure_claim,
    'claim-single': claim.measure_claim_single,
    'claim-lean': claim.measure_claim_lean,
    'claim-lean-single': claim.measure_claim_lean_single,
    'report': claim.measure_report,
    'batch': gateway.measure_batch,
    'batch-lean': gateway.measure_batch_lean,
    'one': gateway.measure_one,
    'snapshot': snapshot.measure,
    'completion': latency.measure_completion,
    'expiry': latency.measure_expiry,
    'mass': mass.measure,
    'mass-lean': mass.measure_lean,
    'idle': idle.measure_idle,
    'pass': idle.measure_pass,
    'counts': counts.measure,
}

# how large and how long; the keys are used by the rows
SIZES = {
    'smoke': {
        'repetitions': 1, 'window': 1, 'batch_window': 2, 'mass_repetitions': 1, 'devices': 20_000,
        'claim_devices': 50_000, 'claim_sync': (True, False), 'lean_clients': (4,), 'single_clients': (4,),
        'fan_out': 20_000, 'fan_out_sizes': (1_000,),
        'report_job_sizes': (1, 1_000), 'report_executions': 200_000, 'report_sync': (True, False),
        'queue': 200_000, 'batch_devices': 60_000, 'batch_jobs': 5, 'batch_sync': (False,),
        'held': 8, 'held_window': 2, 'held_rate': 500, 'held_devices': 5_000, 'held_repetitions': 1,
        'completions': 20, 'expiries': 3, 'load_rate': 200, 'load_devices': 5_000,
        'mass': 20_000, 'mass_others': 20_000, 'claim_rate': 200,
        'open_jobs': 2_000, 'idle': 3, 'passes': 3,
        'counted': 20_000, 'count_calls': 5,
    },
    'quick': {
        'repetitions': 2, 'window': 1.5, 'batch_window': 2, 'mass_repetitions': 2, 'devices': 100_000,
        'claim_devices': 80_000, 'claim_sync': (False,), 'lean_clients': (4,), 'single_clients': (4,),
        'fan_out': 120_000, 'fan_out_sizes': (1_000, 10_000, 100_000),
        'report_job_sizes': (1, 100_000), 'report_executions': 300_000, 'report_sync': (False,),
        'queue': 800_000, 'batch_devices': 160_000, 'batch_jobs': 8, 'batch_sync': (False,),
        'held': 16, 'held_window': 5, 'held_rate': 2_000, 'held_devices': 20_000, 'held_repetitions': 1,
        'completions': 200, 'expiries': 12, 'load_rate': 1_000, 'load_devices': 20_000,
        'mass': 100_000, 'mass_others': 40_000, 'claim_rate': 1_000,
        'open_jobs': 100_000, 'idle': 5, 'passes': 5,
        'counted': 200_000, 'count_calls': 10,
    },
    'full': {
        'repetitions': 5, 'window': 4, 'batch_window': 4, 'mass_repetitions': 5, 'devices': 200_000,
        'claim_devices': 500_000, 'claim_sync': (True, False), 'lean_clients': (1, 4, 16), 'single_clients': (1, 4, 16),
        'fan_out': 1_000_000, 'fan_out_sizes': (1_000, 10_000, 100_000),
        'report_job_sizes': (1, 1_000, 100_000, 1_000_000), 'report_executions': 2_000_000, 'report_sync': (True, False),
        'queue': 3_000_000, 'batch_devices': 500_000, 'batch_jobs': 10, 'batch_sync': (True, False),
        'held': 600, 'held_window': 60, 'held_rate': 2_000, 'held_devices': 200_000, 'held_repetitions': 1,
        'completions': 1_000, 'expiries': 50, 'load_rate': 1_000, 'load_devices': 200_000,
        'mass': 1_000_000, 'mass_others': 100_000, 'claim_rate': 1_000,
        'open_jobs': 100_000, 'idle': 30, 'passes': 20,
        'counted': 1_000_000, 'count_calls': 20,
    },
}

# above this the machine is somebody else's too
QUIET_LOAD = 0.7


def machine():
    """What the figures were taken on, in words that fit any machine."""
    with open('/proc/cpuinfo', encoding='utf-8') as info:
        model = re.search(r'^model name\s*:\s*(.*)$', info.read(), re.M)
    with open('/proc/meminfo', encoding='ascii') as info:
        memory = int(re.search(r'^MemTotal:\s*(\d+)', info.read(), re.M).group(1)) // 1024 ** 2
    scratch = os.environ['SCRATCH']
    file_system = subprocess.run(['stat', '-f', '-c', '%T', scratch], capture_output=True, text=True).stdout.strip()
    version = sql('postgres', "SELECT current_setting('server_version'), current_setting('shared_buffers')").split('|')
    flush = subprocess.run(['pg_test_fsync', '-s', '1', '-f', os.path.join(scratch, 'fsync')],
                           capture_output=True, text=True).stdout
    fdatasync = re.search(r'fdatasync\s+([0-9.]+) ops/sec', flush)
    return (f'{os.cpu_count()} cores ({model.group(1).strip() if model else platform.machine()}), {memory} GB, '
            f'{file_system}, fdatasync {float(fdatasync.group(1)):,.0f}/s; ' if fdatasync else '') + \
        f'PostgreSQL {version[0].split()[0]}, shared_buffers {version[1]}, Linux {platform.release().split("-")[0]}'


def table(figures, where, load):
    lines = [f'{where}. Mode {figures.mode}; load average at the start {load:.2f}.', '']
    if load > QUIET_LOAD:
        lines += [f'**The machine was not idle (load {load:.2f}): ratios are rough, absolute figures mean little.**', '']
    if figures.mode == 'smoke':
        lines += ['**A smoke run: the figures mean nothing.**', '']
    lines += ['| work | iot_jobs | against | it does | ratio (range of the pairs) | target | |',
              '|---|---|---|---|---|---|---|']
    for line in figures.lines:
        target = verdict = ''
        if line['target']:
            target = f"{'≥' if line['target'][0] == '>=' else '≤'} {line['target'][1]:g}"
            verdict = 'reached' if met(line['value'], line['target']) else '**missed**'
        lines.append(f"| {line['case']} | {line['ours']} | {line['against']} | {line['theirs']} "
                     f"| {line['ratio']} | {target} | {verdict} |")
    return '\n'.join(lines) + '\n'


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--list', action='store_true')
    parser.add_argument('--mode', choices=SIZES)
    parser.add_argument('--results')
    parser.add_argument('--only', action='append', default=[])
    options = parser.parse_args()

    if options.list:
        print('\n'.join(ROWS))
        return 0
    unknown = [name for name in options.only if name not in ROWS]
    if unknown:
        say(f'no such row: {", ".join(unknown)}; there are {", ".join(ROWS)}')
        return 2

    load = float(os.environ['LOAD'])
    if load > QUIET_LOAD:
        say(f'warning: the load average is {load:.2f}; the figures will be rough')
    size = SIZES[options.mode]
    figures = Figures(options.results, options.mode)
    failed = 0
    create_databases()
    where = machine()
    for name, measure in ROWS.items():
        if options.only and name not in options.only:
            continue
        began = time.monotonic()
        figures.row = name
        say(f'{name}:')
        try:
            measure(figures, size)
        except Failure as failure:
            failed += 1
            figures.note(name, f'failed: {str(failure).splitlines()[0]}')
            say(f'  failed: {failure}')
        say(f'  ({time.monotonic() - began:.0f} s)')
    text = table(figures, where, load)
    with open(os.path.join(options.results, 'table.md'), 'w', encoding='utf-8') as output:
        output.write(text)
    plot.draw_all(options.results)
    print(text)
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
