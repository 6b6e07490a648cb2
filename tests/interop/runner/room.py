"""room.py -- where a case is played: two network namespaces, the link between them, and what runs there.

    client's namespace 10.9.0.1, fd09::1  <->  tests/net/link  <->  10.9.0.2, fd09::2 server's namespace

Each namespace lives as long as its sleeping process. It has a mount namespace, too, in which server4,
server6 and server46 are the server's names, and, where the machine has folders /www, /downloads, /certs
and /logs, those are the case's: so that endpoints made for containers run unchanged.

Every process is ended with the room, with its group; nothing is left behind.
"""
import os
import signal
import subprocess
import time

HOSTS = '''127.0.0.1 localhost
10.9.0.1 client client4
fd09::1 client client6
10.9.0.2 server server4 server46
fd09::2 server6 server46
'''


class Room:
    def __init__(self, folder, link_program, port):
        self.folder, self.link_program, self.port = folder, link_program, port
        self.processes, self.homes, self.link = [], {}, None

    def __enter__(self):
        with open(os.path.join(self.folder, 'hosts'), 'w', encoding='ascii') as f:
            f.write(HOSTS)
        for side in ('client', 'server'):
            self.homes[side] = self.home(side)
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            self.end(process)

    def home(self, side):
        """Makes a namespace; its sleeper."""
        binds = [f'{self.folder}/hosts:/etc/hosts', f'{self.folder}/www:/www', f'{self.folder}/certs:/certs',
                 f'{self.folder}/downloads:/downloads', f'{self.folder}/{side}:/logs']
        steps = ['ip link set lo up']
        for bind in binds:
            source, target = bind.split(':')
            if os.path.exists(target):
                steps.append(f"mount --bind '{source}' {target}")
        steps += ['echo up', 'exec sleep 86400']
        sleeper = subprocess.Popen(['unshare', '-n', '-m', 'sh', '-c', ' && '.join(steps)],
                                   stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, start_new_session=True)
        self.processes.append(sleeper)
        if sleeper.stdout.readline() != b'up\n':
            raise RuntimeError(f'cannot make the {side}\'s namespace')
        return sleeper

    def connect(self, options):
        """Starts the link."""
        command = [self.link_program]
        for flag, side in (('left', 'client'), ('right', 'server')):
            command += [f'--{flag}', f'/proc/{self.homes[side].pid}/ns/net',
                        f'--capture-{flag}', os.path.join(self.folder, f'{side}.pcap')]
        with open(os.path.join(self.folder, 'link.log'), 'wb') as log:
            self.link = subprocess.Popen(command + options, stdout=log, stderr=subprocess.STDOUT,
                                         stdin=subprocess.DEVNULL, start_new_session=True)
        self.processes.append(self.link)
        deadline = time.monotonic() + 10
        while b'ready' not in self.read('link.log'):
            if self.link.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError('the link does not come up: ' + self.read('link.log').decode())
            time.sleep(0.02)
        # The kernel says `Network is unreachable` now and then in a new link's first moments.
        time.sleep(0.3)

    def disconnect(self):
        """Ends the link, which completes its captures."""
        self.end(self.link)

    def read(self, name):
        with open(os.path.join(self.folder, name), 'rb') as f:
            return f.read()

    def start(self, side, command, env):
        """Runs a shell's command line in a namespace; its output goes to SIDE/output.txt."""
        with open(os.path.join(self.folder, side, 'output.txt'), 'wb') as log:
            process = subprocess.Popen(
                ['nsenter', '-t', str(self.homes[side].pid), '-n', '-m', 'sh', '-c', 'exec ' + command],
                env={**os.environ, **env}, stdout=log, stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL, start_new_session=True)
        self.processes.append(process)
        return process

    def wait_for_port(self, process, seconds):
        """True when somebody in the server's namespace has the port; False when that process ended."""
        deadline = time.monotonic() + seconds
        wanted = f':{self.port:04X}'
        while time.monotonic() < deadline and process.poll() is None:
            for name in ('udp', 'udp6'):
                with open(f'/proc/{self.homes["server"].pid}/net/{name}', encoding='ascii') as f:
                    if any(line.split()[1].endswith(wanted) for line in f.readlines()[1:]):
                        return True
            time.sleep(0.02)
        return False

    def end(self, process, seconds=8):
        """SIGTERM, and SIGKILL for what does not hear it."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, number)
            except ProcessLookupError:
                pass
            try:
                process.wait(seconds if number == signal.SIGTERM else None)
            except subprocess.TimeoutExpired:
                continue
            if number == signal.SIGTERM and self.is_gone(process.pid):
                return

    @staticmethod
    def is_gone(group):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        return False
