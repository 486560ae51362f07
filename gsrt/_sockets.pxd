# Linux sockets at C level: the calls that Python's socket module lacks or makes dear, and addresses as comparable keys.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

cdef extern from *:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <stdint.h>
    #include <string.h>
    #include <sys/socket.h>
    #include <sys/epoll.h>
    #include <sys/uio.h>
    #include <netinet/in.h>
    #include <arpa/inet.h>
    #include <unistd.h>

    #ifndef UDP_SEGMENT
    #define UDP_SEGMENT 103     /* <netinet/udp.h> of older C libraries lacks it */
    #endif

    enum { GSRT_SEGMENT_CONTROL = CMSG_SPACE(sizeof(uint16_t)) };

    /* Has the kernel cut what a message holds into datagrams of `size` bytes, the last one shorter; udp(7). `control` has
     * GSRT_SEGMENT_CONTROL bytes. */
    static inline void gsrt_cut_into_segments(struct msghdr *message, void *control, uint16_t size)
    {
        struct cmsghdr *header;
        message->msg_control = control;
        message->msg_controllen = GSRT_SEGMENT_CONTROL;
        header = CMSG_FIRSTHDR(message);
        header->cmsg_level = IPPROTO_UDP;
        header->cmsg_type = UDP_SEGMENT;
        header->cmsg_len = CMSG_LEN(sizeof(uint16_t));
        memcpy(CMSG_DATA(header), &size, sizeof size);
    }
    """
    pass

cdef extern from "<sys/socket.h>" nogil:
    ctypedef unsigned int socklen_t
    ctypedef unsigned short sa_family_t
    cdef struct sockaddr:
        sa_family_t sa_family
    cdef struct iovec:
        void* iov_base
        size_t iov_len
    cdef struct msghdr:
        void* msg_name
        socklen_t msg_namelen
        iovec* msg_iov
        size_t msg_iovlen
        void* msg_control
        size_t msg_controllen
        int msg_flags
    cdef struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len
    int recvmmsg(int fd, mmsghdr* messages, unsigned int count, int flags, void* timeout)
    int sendmmsg(int fd, mmsghdr* messages, unsigned int count, int flags)
    ssize_t recv(int fd, void* buffer, size_t size, int flags)
    ssize_t send(int fd, const void* buffer, size_t size, int flags)
    int shutdown(int fd, int how)
    int AF_INET, AF_INET6, MSG_DONTWAIT, MSG_NOSIGNAL, MSG_TRUNC, SHUT_WR

cdef extern from * nogil:
    enum: GSRT_SEGMENT_CONTROL
    void gsrt_cut_into_segments(msghdr* message, void* control, uint16_t size)

cdef extern from "<netinet/in.h>" nogil:
    cdef struct in_addr:
        uint32_t s_addr
    cdef struct in6_addr:
        uint8_t s6_addr[16]
    cdef struct sockaddr_in:
        sa_family_t sin_family
        uint16_t sin_port
        in_addr sin_addr
    cdef struct sockaddr_in6:
        sa_family_t sin6_family
        uint16_t sin6_port
        in6_addr sin6_addr
        uint32_t sin6_scope_id
    uint16_t ntohs(uint16_t value)
    const char* inet_ntop(int family, const void* address, char* text, socklen_t size)

cdef extern from "<sys/epoll.h>" nogil:
    ctypedef union epoll_data_t:
        void* ptr
    cdef struct epoll_event:
        uint32_t events
        epoll_data_t data
    int epoll_create1(int flags)
    int epoll_ctl(int fd, int operation, int target, epoll_event* event)
    int epoll_wait(int fd, epoll_event* events, int count, int timeout)
    int EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLL_CLOEXEC
    uint32_t EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP

cdef extern from "<unistd.h>" nogil:
    int close(int fd)

cdef struct Address:            # comparable: all unused bytes are 0
    uint64_t words[3]


cdef inline int make_address(const void* raw, Address* address) noexcept nogil:
    """The key of a sockaddr_in or sockaddr_in6."""
    cdef const sockaddr_in* four
    cdef const sockaddr_in6* six
    cdef uint8_t* at = <uint8_t*>address
    memset(address, 0, sizeof(Address))
    if (<const sockaddr*>raw).sa_family == AF_INET:
        four = <const sockaddr_in*>raw
        memcpy(at, &four.sin_family, 2)
        memcpy(at + 2, &four.sin_port, 2)
        memcpy(at + 8, &four.sin_addr, 4)
    else:
        six = <const sockaddr_in6*>raw
        memcpy(at, &six.sin6_family, 2)
        memcpy(at + 2, &six.sin6_port, 2)
        memcpy(at + 4, &six.sin6_scope_id, 4)
        memcpy(at + 8, &six.sin6_addr, 16)
    return 0


cdef inline str address_text(const void* raw):
    """"ip:port" of a sockaddr_in or sockaddr_in6."""
    cdef char text[64]
    cdef const sockaddr_in6* six = <const sockaddr_in6*>raw
    cdef const sockaddr_in* four = <const sockaddr_in*>raw
    if four.sin_family == AF_INET:
        inet_ntop(AF_INET, &four.sin_addr, text, sizeof(text))
        return f"{text.decode()}:{ntohs(four.sin_port)}"
    inet_ntop(AF_INET6, &six.sin6_addr, text, sizeof(text))
    return f"[{text.decode()}]:{ntohs(six.sin6_port)}"


cdef inline uint32_t spread(const Address* address) noexcept nogil:
    cdef uint64_t mixed = address.words[0] * <uint64_t>0x9E3779B97F4A7C15
    mixed ^= address.words[1] * <uint64_t>0xC2B2AE3D27D4EB4F
    mixed ^= address.words[2] * <uint64_t>0x165667B19E3779F9
    mixed ^= mixed >> 32
    mixed *= <uint64_t>0x9E3779B97F4A7C15
    return <uint32_t>(mixed >> 32)


cdef inline bint same(const Address* a, const Address* b) noexcept nogil:
    return a.words[0] == b.words[0] and a.words[1] == b.words[1] and a.words[2] == b.words[2]
