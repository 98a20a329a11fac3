"""Who listens where a NIC should, or knocks where one is, and is none of ours: foreign.py PATH WHAT...

Node has no SOCK_SEQPACKET and passes no descriptors. Listens at PATH.0 for the first WHAT, at PATH.1 for the next, and
says 'ready' once it does. Where WHAT is 'knock' it goes to PATH, and says 'dropped' once the owner has let go.
"""
import array
import fcntl
import os
import select
import socket
import struct
import sys
import time

path, *whats = sys.argv[1:]
MAGIC = 0x31434E52
VECTORS = 128
HELLO = struct.pack('<II', MAGIC, VECTORS)


def say(word):
    print(word, flush=True)


def memfd(size, *seals):
    fd = os.memfd_create('foreign', os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    for seal in seals:
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seal)
    return fd


def send(client, data, fds):
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', fds))] if fds else []
    client.sendmsg([data], rights)


def sealed(size=65536):
    return memfd(size, fcntl.F_SEAL_SHRINK)


def events():
    return [os.eventfd(0), os.eventfd(0)] if hasattr(os, 'eventfd') else [os.dup(1), os.dup(1)]


def answer(client, what):
    """The owner's part, as foreigners play it."""
    if what == 'garbage':
        send(client, b'GET / HTTP/1.1\r\n\r\n', [])
    elif what == 'short':
        send(client, HELLO[:5], [])
    elif what == 'nothing but descriptors':
        send(client, b'', [sealed(), sealed(), *events()])
    elif what == 'no descriptors':
        send(client, HELLO, [])
    elif what == 'two descriptors':
        send(client, HELLO, [sealed(), sealed()])
    elif what == 'six descriptors':
        send(client, HELLO, [sealed() for _ in range(6)])
    elif what == 'another version':
        send(client, struct.pack('<II', MAGIC, 64), [sealed(), sealed(), *events()])
    elif what == 'garbage with descriptors':
        send(client, b'12345678', [sealed(), sealed(), *events()])
    elif what == 'unsealed':
        send(client, HELLO, [memfd(65536), sealed(), *events()])
    elif what == 'unsealed page':
        send(client, HELLO, [sealed(), memfd(65536), *events()])
    elif what == 'empty':
        send(client, HELLO, [sealed(0), sealed(), *events()])
    elif what == 'small page':
        send(client, HELLO, [sealed(), sealed(8), *events()])
    elif what == 'a file':
        send(client, HELLO, [os.open(__file__, os.O_RDONLY), sealed(), *events()])
    elif what == 'read-only':
        fd = memfd(65536, fcntl.F_SEAL_SHRINK)
        send(client, HELLO, [os.open(f'/proc/self/fd/{fd}', os.O_RDONLY), sealed(), *events()])
    elif what == 'mute':
        time.sleep(60)
    elif what == 'late':
        send(client, HELLO, [sealed(), sealed(), *events()])
        client.recv(64)
        time.sleep(5.5)
        try:
            client.sendall(struct.pack('<I', 0x74726976))
        except OSError:
            pass
        time.sleep(60)
    elif what != 'closes':
        sys.exit(f'what is {what}?')


def listen():
    listeners = {}
    for i, what in enumerate(whats):
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.bind(f'{path}.{i}')
        listener.listen(1)
        listeners[listener] = what
    say('ready')
    while True:
        for listener in select.select(list(listeners), [], [])[0]:
            client, _ = listener.accept()
            answer(client, listeners[listener])
            client.close()


def knock(*messages, fds=()):
    """Says something wrong to an owner, and waits until that lets go."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as owner:
        owner.settimeout(20)
        owner.connect(path)
        owner.recv(64)
        try:
            for message in messages:
                send(owner, message, fds)
            while owner.recv(64):
                pass
        except (BrokenPipeError, ConnectionResetError):
            pass


if whats == ['knock']:
    request = struct.pack('<III', 0, 0, 0)
    for garbage in (b'x', b'GET / HTTP/1.1\r\n\r\n', b'\xff' * 12, b'\xff' * 60000, request[:11], request + b'x'):
        knock(garbage)
    knock(request, request, request, b'x')
    knock(b'x', fds=[sealed(), sealed()])
    # Answered as ours: registers that do not exist, queues that do not, addresses that lie nowhere.
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as owner:
        owner.settimeout(20)
        owner.connect(path)
        owner.recv(64)
        for status in (0, 1, 3):
            owner.sendall(struct.pack('<III', 1, 0x70, status))
            owner.recv(4)
        for offset in [*range(0, 0x200, 2), 0xFFFFFFFF, 0x80000000]:
            for op in (0, 1):
                owner.sendall(struct.pack('<III', op, offset, 0xFFFFFFFF))
                if len(owner.recv(64)) != 4:
                    sys.exit(f'no answer for register {offset:#x}')
    say('dropped')
else:
    listen()
