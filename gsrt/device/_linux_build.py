"""Builds the module gsrt.device._linux: Linux calls that Python has no function for (cffi's out-of-line API mode).

setup.py names `ffi` in its cffi_modules line; the C file that cffi makes of this goes under build/. All functions give
0 or more when it is done, and a negative errno(3) when it is not. They never raise and never end the process.

The system calls are named by <sys/syscall.h>, so that one source is right on every processor; the constants of newer
kernels stand here with their values, for the headers may be older than the kernel: see landlock(7), seccomp(2),
prctl(2), mlockall(2), mallopt(3). The kernels that brought them are named beside them.
"""

from __future__ import annotations

from cffi import FFI

# Calls that are refused with EPERM whatever their arguments; the others of the filter stand in its program. A processor
# has not all of them (<sys/syscall.h> says which).
FORBIDDEN = {
    "other processes": ("ptrace process_vm_readv process_vm_writev process_madvise process_mrelease kcmp pidfd_getfd"),
    "file systems and namespaces": (
        "mount umount umount2 pivot_root chroot unshare setns quotactl quotactl_fd swapon swapoff acct open_tree"
        " move_mount fsopen fsconfig fsmount fspick mount_setattr name_to_handle_at open_by_handle_at fanotify_init"
        " fanotify_mark ustat sysfs nfsservctl"
    ),
    # landlock does not look at these
    "what files are": (
        "chmod fchmod fchmodat chown chown32 lchown lchown32 fchown fchown32 fchownat mknod mknodat setxattr lsetxattr"
        " fsetxattr removexattr lremovexattr fremovexattr utime utimes futimesat utimensat utimensat_time64"
    ),
    "who the process is": (
        "setuid setgid setreuid setregid setresuid setresgid setfsuid setfsgid setgroups setuid32 setgid32 setreuid32"
        " setregid32 setresuid32 setresgid32 setfsuid32 setfsgid32 setgroups32 capset personality"
    ),
    "the kernel": (
        "bpf perf_event_open userfaultfd add_key request_key keyctl init_module finit_module delete_module kexec_load"
        " kexec_file_load reboot syslog vmsplice remap_file_pages mbind set_mempolicy migrate_pages move_pages"
        " lookup_dcookie io_uring_setup io_uring_enter io_uring_register memfd_secret iopl ioperm modify_ldt uselib"
        " vhangup"
    ),
    "the machine's clock and name": (
        "settimeofday stime clock_settime clock_settime64 clock_adjtime clock_adjtime64 adjtimex sethostname"
        " setdomainname"
    ),
    "ways between processes that nothing here uses": (
        "shmget shmat shmctl semget semctl msgget msgctl mq_open mq_unlink"
    ),
}

# Calls about which the filter's program decides by their arguments, or otherwise than with EPERM.
DECIDED = "clone clone3 execve execveat fork vfork ioctl memfd_create seccomp socket socketpair"

# Calls that a contained server makes, itself or by the libraries below it; the newest of several that do the same come
# first on a kernel that has them. tests/device/test_filter.py holds the program against all these lists.
NEEDED = {
    "files": (
        "open openat openat2 creat close close_range read write readv writev pread64 pwrite64 preadv pwritev lseek"
        " _llseek stat stat64 lstat lstat64 fstat fstat64 newfstatat fstatat64 statx statfs statfs64 fstatfs fstatfs64"
        " getdents getdents64 readlink readlinkat access faccessat faccessat2 mkdir mkdirat rmdir unlink unlinkat"
        " rename renameat renameat2 ftruncate ftruncate64 truncate truncate64 fsync fdatasync fallocate fadvise64"
        " arm_fadvise64_64 flock fcntl fcntl64 getcwd umask dup dup2 dup3 pipe pipe2 sendfile sendfile64"
    ),
    "waiting": (
        "epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2 poll ppoll ppoll_time64 select"
        " _newselect pselect6 pselect6_time64 eventfd2 futex futex_time64 nanosleep clock_nanosleep"
        " clock_nanosleep_time64 pause restart_syscall wait4 waitid"
    ),
    "time": (
        "clock_gettime clock_gettime64 clock_getres clock_getres_time64 gettimeofday time times timer_create"
        " timer_settime timer_settime64 timer_delete setitimer alarm"
    ),
    "sockets": (
        "bind listen accept accept4 connect shutdown getsockname getpeername setsockopt getsockopt send sendto sendmsg"
        " sendmmsg recv recvfrom recvmsg recvmmsg recvmmsg_time64"
    ),
    "memory": "brk mmap mmap2 munmap mremap mprotect madvise mlockall munlockall membarrier",
    "threads and signals": (
        "set_tid_address set_robust_list rseq arch_prctl rt_sigaction rt_sigprocmask rt_sigreturn sigreturn"
        " rt_sigtimedwait rt_sigtimedwait_time64 sigaltstack gettid tgkill kill sched_yield sched_getaffinity"
        " setpriority getpriority exit exit_group"
    ),
    "itself and the machine": (
        "getpid getppid getuid getuid32 geteuid geteuid32 getgid getgid32 getegid getegid32 getrandom getrlimit"
        " ugetrlimit prlimit64 setrlimit getrusage prctl sysinfo uname getcpu setsid setpgid pidfd_open"
    ),
}

ffi = FFI()

ffi.cdef("""
    int gsrt_limit_arenas(int arenas);
    int gsrt_lock_memory(void);
    int gsrt_set_timer_slack(unsigned long nanoseconds);
    int gsrt_no_new_privileges(void);
    int gsrt_refuse_code_made_at_run_time(void);

    #define GSRT_READ ...
    #define GSRT_WRITE ...
    #define GSRT_EXECUTE ...
    #define GSRT_LIST ...
    int gsrt_landlock_version(void);
    int gsrt_landlock_begin(int version);
    int gsrt_landlock_allow(int ruleset, int version, const char *path, int rights);
    int gsrt_landlock_enforce(int ruleset, int milliseconds);

    #define GSRT_ALLOW_EXECUTE ...
    #define GSRT_ALLOW_CHILDREN ...
    int gsrt_filtered_already(void);
    int gsrt_filter_calls(int allow);
    int gsrt_filter_program(int allow, int seal, unsigned char *bytes, int size);
    int gsrt_call_number(const char *name);
    const char *gsrt_machine(void);
""")

SOURCE = r"""
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

static int result(long returned)
{
    return returned < 0 ? -errno : (int)returned;
}

/* ---- Memory and time. ---- */

#ifdef __GLIBC__
static int gsrt_limit_arenas(int arenas) { return mallopt(M_ARENA_MAX, arenas) ? 0 : -EINVAL; }
#else /* another C library: its allocator has no such knob */
static int gsrt_limit_arenas(int arenas) { (void)arenas; return -ENOSYS; }
#endif

#ifndef MCL_ONFAULT /* Linux 4.4 */
#define MCL_ONFAULT 4
#endif

/* What is in memory stays there, and what comes into it later too; nothing is brought in for it. */
static int gsrt_lock_memory(void)
{
    return result(mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT));
}

/* Of the calling thread, and of those it starts from now on. */
static int gsrt_set_timer_slack(unsigned long nanoseconds)
{
    return result(prctl(PR_SET_TIMERSLACK, nanoseconds, 0, 0, 0));
}

/* ---- Privileges. ---- */

static int gsrt_no_new_privileges(void)
{
    return result(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

#define SET_MDWE 65             /* PR_SET_MDWE, Linux 6.3 */
#define MDWE_REFUSE_EXEC_GAIN 1

/* Of the whole process: no memory is ever both writable and executable, nor becomes executable once it was there. */
static int gsrt_refuse_code_made_at_run_time(void)
{
    return result(prctl(SET_MDWE, MDWE_REFUSE_EXEC_GAIN, 0, 0, 0));
}

/* ---- Landlock. Numbers and structures as the kernel's interface has them; it is the same on every processor. ---- */

#define CALL_LANDLOCK_CREATE_RULESET 444
#define CALL_LANDLOCK_ADD_RULE 445
#define CALL_LANDLOCK_RESTRICT_SELF 446
#define TELL_VERSION 1u
#define RULE_PATH_BENEATH 1

#define FS_EXECUTE (1ull << 0)
#define FS_WRITE_FILE (1ull << 1)
#define FS_READ_FILE (1ull << 2)
#define FS_READ_DIR (1ull << 3)
#define FS_REMOVE_DIR (1ull << 4)
#define FS_REMOVE_FILE (1ull << 5)
#define FS_MAKE_DIR (1ull << 7)
#define FS_MAKE_REG (1ull << 8)
#define FS_MAKE_SOCK (1ull << 9)
#define FS_REFER (1ull << 13)       /* version 2, Linux 5.19 */
#define FS_TRUNCATE (1ull << 14)    /* version 3, Linux 6.2 */
#define FS_IOCTL_DEV (1ull << 15)   /* version 5, Linux 6.10 */
#define FS_OF_VERSION_1 ((1ull << 13) - 1)
#define FS_OF_FILES (FS_EXECUTE | FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE | FS_IOCTL_DEV)
#define NET_BIND_TCP (1ull << 0)    /* version 4, Linux 6.7 */
#define NET_CONNECT_TCP (1ull << 1)
#define SCOPE_SIGNAL (1ull << 1)    /* version 6, Linux 6.12 */

#define GSRT_READ 1
#define GSRT_WRITE 2
#define GSRT_EXECUTE 4
#define GSRT_LIST 8 /* the names of files alone */

struct ruleset {
    uint64_t files;
    uint64_t net;
    uint64_t scoped;
};

struct __attribute__((packed)) path_beneath {
    uint64_t allowed;
    int32_t parent;
};

static uint64_t files_of(int version)
{
    uint64_t files = FS_OF_VERSION_1;
    if (version >= 2)
        files |= FS_REFER;
    if (version >= 3)
        files |= FS_TRUNCATE;
    if (version >= 5)
        files |= FS_IOCTL_DEV;
    return files;
}

static int gsrt_landlock_version(void)
{
    return result(syscall(CALL_LANDLOCK_CREATE_RULESET, NULL, 0, TELL_VERSION));
}

/* A descriptor to give rules to. Whatever the version knows of is refused unless a rule allows it; no rule ever allows
 * TCP, for all the server's sockets are there by then and it connects to nobody. */
static int gsrt_landlock_begin(int version)
{
    struct ruleset wanted = {files_of(version), 0, 0};
    size_t size = sizeof(wanted.files);
    if (version >= 4) {
        wanted.net = NET_BIND_TCP | NET_CONNECT_TCP;
        size += sizeof(wanted.net);
    }
    if (version >= 6) {
        wanted.scoped = SCOPE_SIGNAL;
        size += sizeof(wanted.scoped);
    }
    return result(syscall(CALL_LANDLOCK_CREATE_RULESET, &wanted, size, 0));
}

static int gsrt_landlock_allow(int ruleset, int version, const char *path, int rights)
{
    struct path_beneath rule = {0, -1};
    struct stat found;
    int returned;
    if (rights & GSRT_READ)
        rule.allowed |= FS_READ_FILE | FS_READ_DIR;
    if (rights & GSRT_WRITE)
        rule.allowed |= FS_READ_FILE | FS_READ_DIR | FS_WRITE_FILE | FS_REMOVE_FILE | FS_REMOVE_DIR | FS_MAKE_DIR
            | FS_MAKE_REG | FS_MAKE_SOCK | FS_REFER | FS_TRUNCATE;
    if (rights & GSRT_LIST)
        rule.allowed |= FS_READ_DIR;
    if (rights & GSRT_EXECUTE)
        rule.allowed |= FS_EXECUTE | FS_READ_FILE;
    rule.allowed &= files_of(version);
    rule.parent = open(path, O_PATH | O_CLOEXEC);
    if (rule.parent < 0)
        return -errno;
    if (fstat(rule.parent, &found) < 0) {
        returned = -errno;
        close(rule.parent);
        return returned;
    }
    if (!S_ISDIR(found.st_mode))
        rule.allowed &= FS_OF_FILES;
    returned = result(syscall(CALL_LANDLOCK_ADD_RULE, ruleset, RULE_PATH_BENEATH, &rule, 0));
    close(rule.parent);
    return returned;
}

/* Landlock binds the calling thread alone (before version 8), and every thread that it starts. Those that run already
 * are therefore each interrupted by a signal, whose handler binds the thread it runs on. */

#define THREADS_MAX 256
#define LOOK_NANOSECONDS 200000

static int bound_ruleset;
static int bound_error;
static int bound_count;
static pid_t bound[THREADS_MAX];

static int bind_thread(void)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return errno;
    return syscall(CALL_LANDLOCK_RESTRICT_SELF, bound_ruleset, 0) < 0 ? errno : 0;
}

static void on_bind(int number)
{
    int before = errno, none = 0;
    int failed = bind_thread();
    int place;
    (void)number;
    if (failed)
        __atomic_compare_exchange_n(&bound_error, &none, failed, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    place = __atomic_fetch_add(&bound_count, 1, __ATOMIC_SEQ_CST);
    if (place < THREADS_MAX)
        __atomic_store_n(&bound[place], (pid_t)syscall(SYS_gettid), __ATOMIC_SEQ_CST);
    errno = before;
}

static int is_bound(pid_t thread)
{
    int i, count = __atomic_load_n(&bound_count, __ATOMIC_SEQ_CST);
    for (i = 0; i < count && i < THREADS_MAX; i++)
        if (__atomic_load_n(&bound[i], __ATOMIC_SEQ_CST) == thread)
            return 1;
    return 0;
}

static int unused_signal(struct sigaction *before)
{
    int number;
    for (number = SIGRTMAX; number > SIGRTMIN; number--)
        if (sigaction(number, NULL, before) == 0 && !(before->sa_flags & SA_SIGINFO) && before->sa_handler == SIG_DFL)
            return number;
    return 0;
}

static int64_t milliseconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Whether every other thread of the folder is bound; the others get the signal, once each: `asked` has *count. */
static int ask_threads(DIR *threads, int number, pid_t *asked, int *count)
{
    struct dirent *entry;
    pid_t self = (pid_t)syscall(SYS_gettid);
    int all = 1, i;
    rewinddir(threads);
    while ((entry = readdir(threads)) != NULL) {
        pid_t thread = (pid_t)atoi(entry->d_name);
        if (thread <= 0 || thread == self || is_bound(thread))
            continue;
        for (i = 0; i < *count && asked[i] != thread; i++)
            ;
        if (i == THREADS_MAX)
            return -EAGAIN;
        if (i == *count) {
            if (syscall(SYS_tgkill, getpid(), thread, number) < 0)
                continue; /* it has ended */
            asked[(*count)++] = thread;
        }
        all = 0;
    }
    return all;
}

/* Binds this thread and all others, within so long. -ETIME: one of them did not answer. The others are bound then. */
static int gsrt_landlock_enforce(int ruleset, int milliseconds)
{
    const struct timespec pause = {0, LOOK_NANOSECONDS};
    struct sigaction action, before;
    pid_t asked[THREADS_MAX];
    int count = 0, number, all, failed;
    int64_t until = milliseconds_now() + milliseconds;
    DIR *threads = opendir("/proc/self/task");
    if (threads == NULL)
        return -errno;
    number = unused_signal(&before);
    if (number == 0) {
        closedir(threads);
        return -EBUSY;
    }
    memset(&action, 0, sizeof(action));
    action.sa_handler = on_bind;
    action.sa_flags = SA_RESTART;
    sigfillset(&action.sa_mask);
    bound_ruleset = ruleset;
    bound_error = 0;
    bound_count = 0;
    memset(bound, 0, sizeof(bound));
    sigaction(number, &action, NULL);
    /* This thread last: once bound, it may signal no thread that is not (Linux 6.12 to 6.14). */
    while ((all = ask_threads(threads, number, asked, &count)) == 0 && milliseconds_now() < until)
        nanosleep(&pause, NULL);
    if (all == 1) /* else a signal may still come, which without its handler would end the process */
        sigaction(number, &before, NULL);
    closedir(threads);
    failed = bind_thread();
    if (failed == 0)
        failed = __atomic_load_n(&bound_error, __ATOMIC_SEQ_CST);
    if (failed)
        return -failed;
    return all == 1 ? 0 : all < 0 ? all : -ETIME;
}

/* ---- Seccomp. ---- */

#define GSRT_ALLOW_EXECUTE 1
#define GSRT_ALLOW_CHILDREN 2

#if defined(__x86_64__) && !defined(__ILP32__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#define MACHINE "x86-64"
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#define MACHINE "aarch64"
#elif defined(__arm__) && defined(__ARM_EABI__)
#define ARCHITECTURE AUDIT_ARCH_ARM
#define MACHINE "arm"
#endif

/* The newest call that is known here (cachestat, Linux 6.5): to libraries a newer one is not there yet. */
#define NEWEST_CALL 451
/* Beyond all others, on ARM only: cacheflush and the like. */
#define FIRST_PRIVATE_CALL 0x0f0001
#define LAST_PRIVATE_CALL 0x0f0006
#define X32_CALLS 0x40000000

/* Below: names that this processor has a call for. */
static const int FORBIDDEN[] = {
@FORBIDDEN@};

#define FORBIDDEN_COUNT (sizeof(FORBIDDEN) / sizeof(FORBIDDEN[0]))
#define PROGRAM_MAX (2 * FORBIDDEN_COUNT + 100)

struct program {
    struct sock_filter lines[PROGRAM_MAX];
    unsigned short count;
};

#define REFUSE(error) (SECCOMP_RET_ERRNO | (error))
#define NUMBER ((uint32_t)offsetof(struct seccomp_data, nr))
/* All our processors store the low half first; the kernel itself looks at no more than that of these arguments. */
#define ARGUMENT(n) ((uint32_t)offsetof(struct seccomp_data, args[n]))

static void add(struct program *program, uint16_t code, uint32_t value, uint8_t when, uint8_t otherwise)
{
    struct sock_filter line = {code, when, otherwise, value};
    program->lines[program->count++] = line;
}

static void load(struct program *program, uint32_t offset) { add(program, BPF_LD | BPF_W | BPF_ABS, offset, 0, 0); }
static void give(struct program *program, uint32_t answer) { add(program, BPF_RET | BPF_K, answer, 0, 0); }

/* What is loaded is VALUE: that is the answer. */
static void answer_if(struct program *program, uint32_t value, uint32_t answer)
{
    add(program, BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1);
    give(program, answer);
}

/* Another call than this: so many lines on. */
static void skip_unless(struct program *program, int call, uint8_t lines)
{
    add(program, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)call, 0, lines);
}

#ifdef ARCHITECTURE

#define CLONE_NAMESPACES 0x7e020000u   /* NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET: clone(2) */
#define CLONE_OF_A_THREAD 0x00010000u
#define FAMILY_UNIX 1
#define FAMILY_INTERNET 2
#define FAMILY_INTERNET_6 10
#define KIND_STREAM 1
#define KIND_DATAGRAM 2
#define KIND_PACKETS 5
#define KIND_MASK 0x0f
#define PUT_INTO_TERMINAL 0x5412        /* TIOCSTI */
#define CONSOLE_SELECTION 0x541c        /* TIOCLINUX */
#define MEMORY_FILE_NEVER_RUN 8u        /* MFD_NOEXEC_SEAL, Linux 6.3 */

static void write_program(struct program *program, int allow, int seal)
{
    int children = allow & GSRT_ALLOW_CHILDREN;
    size_t i;
    program->count = 0;
    load(program, (uint32_t)offsetof(struct seccomp_data, arch));
    add(program, BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0);
    give(program, REFUSE(EPERM));
    load(program, NUMBER);
#ifdef __x86_64__
    add(program, BPF_JMP | BPF_JGE | BPF_K, X32_CALLS, 0, 1);
    give(program, REFUSE(EPERM));
#endif
#ifdef __arm__
    add(program, BPF_JMP | BPF_JGT | BPF_K, LAST_PRIVATE_CALL, 2, 0);
    add(program, BPF_JMP | BPF_JGE | BPF_K, FIRST_PRIVATE_CALL, 0, 1);
    give(program, SECCOMP_RET_ALLOW);
#endif
    add(program, BPF_JMP | BPF_JGT | BPF_K, NEWEST_CALL, 0, 1);
    give(program, REFUSE(ENOSYS));
    for (i = 0; i < FORBIDDEN_COUNT; i++)
        answer_if(program, (uint32_t)FORBIDDEN[i], REFUSE(EPERM));
    answer_if(program, SYS_seccomp, REFUSE(EALREADY)); /* see gsrt_filtered_already */
#ifdef SYS_clone3 /* its flags are behind a pointer, which no filter follows; libraries go back to clone */
    answer_if(program, SYS_clone3, REFUSE(ENOSYS));
#endif
    answer_if(program, SYS_execveat, REFUSE(EPERM));
    if (!(allow & GSRT_ALLOW_EXECUTE))
        answer_if(program, SYS_execve, REFUSE(EPERM));
    if (!children) {
#ifdef SYS_fork
        answer_if(program, SYS_fork, REFUSE(EPERM));
        answer_if(program, SYS_vfork, REFUSE(EPERM));
#endif
    }
    skip_unless(program, SYS_clone, children ? 4 : 5);
    load(program, ARGUMENT(0));
    add(program, BPF_JMP | BPF_JSET | BPF_K, CLONE_NAMESPACES, children ? 1 : 2, 0);
    if (!children)
        add(program, BPF_JMP | BPF_JSET | BPF_K, CLONE_OF_A_THREAD, 0, 1);
    give(program, SECCOMP_RET_ALLOW);
    give(program, REFUSE(EPERM));
    for (i = 0; i < 2; i++) {
        skip_unless(program, i ? SYS_socketpair : SYS_socket, 12);
        load(program, ARGUMENT(0));
        add(program, BPF_JMP | BPF_JEQ | BPF_K, FAMILY_UNIX, 3, 0);
        add(program, BPF_JMP | BPF_JEQ | BPF_K, FAMILY_INTERNET, 2, 0);
        add(program, BPF_JMP | BPF_JEQ | BPF_K, FAMILY_INTERNET_6, 1, 0);
        give(program, REFUSE(EPERM));
        load(program, ARGUMENT(1));
        add(program, BPF_ALU | BPF_AND | BPF_K, KIND_MASK, 0, 0);
        add(program, BPF_JMP | BPF_JEQ | BPF_K, KIND_STREAM, 3, 0);
        add(program, BPF_JMP | BPF_JEQ | BPF_K, KIND_DATAGRAM, 2, 0);
        add(program, BPF_JMP | BPF_JEQ | BPF_K, KIND_PACKETS, 1, 0);
        give(program, REFUSE(EPERM));
        give(program, SECCOMP_RET_ALLOW);
    }
    skip_unless(program, SYS_ioctl, 4);
    load(program, ARGUMENT(1));
    add(program, BPF_JMP | BPF_JEQ | BPF_K, PUT_INTO_TERMINAL, 1, 0);
    add(program, BPF_JMP | BPF_JEQ | BPF_K, CONSOLE_SELECTION, 0, 1);
    give(program, REFUSE(EPERM));
    if (seal) { /* what is in a memory file has no place in a folder, so landlock would let it be run */
        load(program, NUMBER);
        skip_unless(program, SYS_memfd_create, 3);
        load(program, ARGUMENT(1));
        add(program, BPF_JMP | BPF_JSET | BPF_K, MEMORY_FILE_NEVER_RUN, 1, 0);
        give(program, REFUSE(EPERM));
    }
    give(program, SECCOMP_RET_ALLOW);
}

/* Whether the filter is in force: it answers this call as no kernel does. */
static int gsrt_filtered_already(void)
{
    uint32_t action = SECCOMP_RET_ERRNO;
    return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) < 0 && errno == EALREADY;
}

/* What gsrt_filter_calls installs, for who wants to try it without a kernel; `seal`: where memory files can be sealed.
 * How many bytes it is. */
static int gsrt_filter_program(int allow, int seal, unsigned char *bytes, int size)
{
    struct program program;
    int needed;
    write_program(&program, allow, seal);
    needed = (int)(program.count * sizeof(program.lines[0]));
    if (needed > size)
        return -ENOBUFS;
    memcpy(bytes, program.lines, (size_t)needed);
    return needed;
}

/* All threads at once. -EBUSY: one of them has a filter of its own. */
static int gsrt_filter_calls(int allow)
{
    struct program program;
    struct sock_fprog filter = {0, program.lines};
    int sealed = (int)syscall(SYS_memfd_create, "gsrt-probe", MEMORY_FILE_NEVER_RUN), returned;
    if (sealed >= 0)
        close(sealed);
    write_program(&program, allow, sealed >= 0);
    filter.len = program.count;
    returned = result(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter));
    return returned > 0 ? -EBUSY : returned;
}

static const char *gsrt_machine(void) { return MACHINE; }

#else

static int gsrt_filtered_already(void) { return 0; }
static int gsrt_filter_calls(int allow) { (void)allow; return -ENOSYS; }
static int gsrt_filter_program(int allow, int seal, unsigned char *bytes, int size)
{
    (void)allow, (void)seal, (void)bytes, (void)size;
    return -ENOSYS;
}
static const char *gsrt_machine(void) { return ""; }

#endif

static const struct {
    char name[24];
    int number;
} CALLS[] = {
@CALLS@};

/* A system call's number here; -ENOSYS: this processor has none of that name, or it is in neither of the lists. */
static int gsrt_call_number(const char *name)
{
    size_t i;
    for (i = 0; i < sizeof(CALLS) / sizeof(CALLS[0]); i++)
        if (strcmp(CALLS[i].name, name) == 0)
            return CALLS[i].number;
    return -ENOSYS;
}
"""

FORBIDDEN_NAMES = [name for names in FORBIDDEN.values() for name in names.split()]
DECIDED_NAMES = DECIDED.split()
NEEDED_NAMES = [name for names in NEEDED.values() for name in names.split()]

_FORBIDDEN = "".join(f"#ifdef SYS_{name}\n    SYS_{name},\n#endif\n" for name in FORBIDDEN_NAMES)
_CALLS = "".join(
    f'#ifdef SYS_{name}\n    {{"{name}", SYS_{name}}},\n#endif\n'
    for name in (*FORBIDDEN_NAMES, *DECIDED_NAMES, *NEEDED_NAMES)
)
ffi.set_source("gsrt.device._linux", SOURCE.replace("@FORBIDDEN@", _FORBIDDEN).replace("@CALLS@", _CALLS))
