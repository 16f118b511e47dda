"""Shuts a process of a slot in before it works: namespaces of its own, Landlock for files and ports, seccomp for system
calls.

Whoever takes a codec process over can read libraries, and write its working files; it has no network, can start no
program and reach no other process. An object process has the object store besides. What the kernel does not have is
left out, and is told."""

import ctypes
import os
import platform
import struct
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from service.child_process import drop_privileges

SYS_LANDLOCK_CREATE_RULESET, SYS_LANDLOCK_ADD_RULE, SYS_LANDLOCK_RESTRICT_SELF = 444, 445, 446
LANDLOCK_CREATE_RULESET_VERSION, LANDLOCK_RULE_PATH_BENEATH, LANDLOCK_RULE_NET_PORT = 1, 1, 2
# include/uapi/linux/landlock.h: what may be done to files, by the version of the interface that has it.
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, TRUNCATE, IOCTL_DEV = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 14, 1 << 15
FILE_ACCESS_BY_VERSION = {1: (1 << 13) - 1, 2: 1 << 13, 3: TRUNCATE, 5: IOCTL_DEV}
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
READ = EXECUTE | READ_FILE | READ_DIR
NET_VERSION, BIND_TCP, CONNECT_TCP = 4, 1 << 0, 1 << 1
SCOPE_VERSION, SCOPE_ABSTRACT_UNIX_SOCKET, SCOPE_SIGNAL = 6, 1 << 0, 1 << 1

# Programs, libraries and facts of the machine; not /etc, of which only these files are needed, and not /run or /var.
SYSTEM_FOLDERS = ("/usr", "/lib", "/lib64", "/lib32", "/opt", "/nix", "/proc", "/sys")
SYSTEM_FILES = (
    "/etc/ld.so.cache", "/etc/localtime", "/etc/hosts", "/etc/host.conf", "/etc/gai.conf", "/etc/nsswitch.conf",
    "/etc/resolv.conf", "/etc/ssl", "/etc/pki", "/etc/ca-certificates",
)  # fmt: skip
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")

# unshare(2): with a user namespace nobody needs privileges for the others; the new network has only a dead loopback.
CLONE_NEWUSER, CLONE_NEWNET, CLONE_NEWIPC = 0x10000000, 0x40000000, 0x08000000

PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
SECCOMP_ALLOW, SECCOMP_ERRNO, SECCOMP_KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
EPERM = 1
AUDIT_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
X32_SYSCALL_BIT = 0x40000000
AF_INET, AF_INET6 = 2, 10
# Numbers on x86_64 and on aarch64 of what a slot has no use for: other processes, programs, mounts, keys, the kernel.
FORBIDDEN = {
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "pidfd_getfd": (438, 438), "execve": (59, 221), "execveat": (322, 281), "mount": (165, 40), "umount2": (166, 39),
    "pivot_root": (155, 41), "chroot": (161, 51), "setns": (308, 268), "unshare": (272, 97), "add_key": (248, 217),
    "request_key": (249, 218), "keyctl": (250, 219), "bpf": (321, 280), "perf_event_open": (298, 241),
    "userfaultfd": (323, 282), "open_by_handle_at": (304, 265), "init_module": (175, 105), "finit_module": (313, 273),
    "kexec_load": (246, 104), "io_uring_setup": (425, 425), "move_mount": (429, 429), "fsopen": (430, 430),
}  # fmt: skip
SOCKET = (41, 198)


@dataclass(frozen=True, slots=True)
class Walls:
    """What stays open: folders to `read` and to `write`, and TCP `ports` (empty: no network at all)."""

    read: tuple[Path, ...] = ()
    write: tuple[Path, ...] = ()
    ports: tuple[int, ...] = ()


def confine(walls: Walls) -> tuple[str, ...]:
    """Shut this process in for good. Returns what could not be had here, in words; empty if all of it could.

    Call it after `drop_privileges`, on the only thread.
    """
    if sys.platform != "linux":
        return (f"no sandbox on {sys.platform}",)
    libc = ctypes.CDLL(None, use_errno=True)
    gaps = (None if walls.ports else _separate(libc), _restrict_files(libc, walls), _restrict_calls(libc, walls))
    return tuple(reason for reason in gaps if reason)


def _separate(libc: ctypes.CDLL) -> str | None:
    """Namespaces of its own for a process without network. In them it has all privileges, and drops them again."""
    if libc.unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWIPC):
        return f"no namespaces of its own ({os.strerror(ctypes.get_errno())}): the other walls keep it from the network"
    drop_privileges()
    return None


def library_folders() -> Iterator[Path]:
    """Where Python and our packages are. Not the folder that holds our packages: a home may be in it."""
    import service

    yield from (Path(sys.prefix), Path(sys.base_prefix), Path(sys.exec_prefix))
    yield from (Path(folder).parent / name for folder in service.__path__ for name in ("service", "kernels"))
    yield from (Path(entry) for entry in sys.path if entry.endswith(("site-packages", "dist-packages")))


def _restrict_files(libc: ctypes.CDLL, walls: Walls) -> str | None:
    version = libc.syscall(SYS_LANDLOCK_CREATE_RULESET, None, 0, LANDLOCK_CREATE_RULESET_VERSION)
    if version < 1:
        return "the kernel has no Landlock: a slot can reach all files of its user"
    handled = sum(access for since, access in FILE_ACCESS_BY_VERSION.items() if since <= version)
    net = (BIND_TCP | CONNECT_TCP) if version >= NET_VERSION else 0
    scoped = (SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL) if version >= SCOPE_VERSION else 0
    attributes = struct.pack("QQQ", handled, net, scoped)
    size = len(attributes) if version >= SCOPE_VERSION else 16 if version >= NET_VERSION else 8
    ruleset = libc.syscall(SYS_LANDLOCK_CREATE_RULESET, attributes, size, 0)
    if ruleset < 0:
        return f"Landlock cannot be used here ({os.strerror(ctypes.get_errno())})"
    try:
        system = (*map(Path, (*SYSTEM_FOLDERS, *SYSTEM_FILES)), *library_folders(), *walls.read)
        _allow(libc, ruleset, system, READ & handled)
        _allow(libc, ruleset, map(Path, DEVICES), (READ_FILE | WRITE_FILE) & handled)
        _allow(libc, ruleset, walls.write, handled & ~EXECUTE & ~IOCTL_DEV)
        for port in walls.ports if net else ():
            libc.syscall(
                SYS_LANDLOCK_ADD_RULE, ruleset, LANDLOCK_RULE_NET_PORT, struct.pack("QQ", CONNECT_TCP, port), 0
            )
        if libc.syscall(SYS_LANDLOCK_RESTRICT_SELF, ruleset, 0):
            return f"Landlock cannot be used here ({os.strerror(ctypes.get_errno())})"
    finally:
        os.close(ruleset)
    return (
        None if net or not walls.ports else "the kernel's Landlock knows no ports: a slot can reach all of the network"
    )


def _allow(libc: ctypes.CDLL, ruleset: int, paths: Iterable[Path], access: int) -> None:
    """What does not exist needs no rule."""
    for path in {each.resolve() for each in paths}:
        try:
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        allowed = access if path.is_dir() else access & OF_FILES
        rule = struct.pack("=Qi", allowed, descriptor)
        libc.syscall(SYS_LANDLOCK_ADD_RULE, ruleset, LANDLOCK_RULE_PATH_BENEATH, rule, 0)
        os.close(descriptor)


def _restrict_calls(libc: ctypes.CDLL, walls: Walls) -> str | None:
    machine = platform.machine()
    if machine not in AUDIT_ARCHITECTURES:
        return f"no seccomp filter for {machine}: a slot can make all system calls of its user"
    program = build_filter(machine, network=bool(walls.ports))
    instructions = ctypes.create_string_buffer(program)
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(instructions))
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, header, 0, 0):
        return f"seccomp cannot be used here ({os.strerror(ctypes.get_errno())})"
    return None


def build_filter(machine: str, *, network: bool) -> bytes:
    """A program of classic BPF (struct sock_filter: code, jump if true, if false, value) over struct seccomp_data:
    number of the call at 0, architecture at 4, first argument at 16.

    Forbidden calls fail with EPERM. Sockets are only of the families of IP, if at all; pairs of sockets are allowed.
    """
    load, equal, at_least, give = 0x20, 0x15, 0x35, 0x06
    column = 0 if machine == "x86_64" else 1
    refuse = SECCOMP_ERRNO | EPERM
    program = [(load, 0, 0, 4), (equal, 1, 0, AUDIT_ARCHITECTURES[machine]), (give, 0, 0, SECCOMP_KILL_PROCESS)]
    program += [(load, 0, 0, 0)]
    if machine == "x86_64":
        program += [(at_least, 0, 1, X32_SYSCALL_BIT), (give, 0, 0, refuse)]
    for numbers in FORBIDDEN.values():
        program += [(equal, 0, 1, numbers[column]), (give, 0, 0, refuse)]
    families = (AF_INET, AF_INET6) if network else ()
    checks = [(equal, len(families) - place, 0, family) for place, family in enumerate(families)]
    program += [(equal, 0, len(checks) + 2, SOCKET[column]), (load, 0, 0, 16), *checks, (give, 0, 0, refuse)]
    program += [(give, 0, 0, SECCOMP_ALLOW)]
    return b"".join(struct.pack("HBBI", *instruction) for instruction in program)
