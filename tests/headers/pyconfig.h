/* What a target's pyconfig.h says, as far as a module of the limited API can see it. The one of the
 * Python that cross-compiles is about another machine.
 *
 * The feature macros are those that CPython's configure writes on each system. _XOPEN_SOURCE hides
 * what is no part of POSIX, kqueue included, unless the system's own macro stands beside it. */
#ifndef Py_PYCONFIG_H
#define Py_PYCONFIG_H

#define _XOPEN_SOURCE 700
#define _POSIX_C_SOURCE 200809L
#define __EXTENSIONS__ 1
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#if defined(__APPLE__)
#define _DARWIN_C_SOURCE 1
#elif defined(__FreeBSD__)
#define __BSD_VISIBLE 1
#elif defined(__NetBSD__)
#define _NETBSD_SOURCE 1
#elif defined(__OpenBSD__)
#define _BSD_SOURCE 1
#endif

#define SIZEOF_INT __SIZEOF_INT__
#define SIZEOF_LONG __SIZEOF_LONG__
#define SIZEOF_LONG_LONG __SIZEOF_LONG_LONG__
#define SIZEOF_SIZE_T __SIZEOF_SIZE_T__
#define SIZEOF_VOID_P __SIZEOF_POINTER__
#define SIZEOF_WCHAR_T __SIZEOF_WCHAR_T__
#define ALIGNOF_LONG __SIZEOF_LONG__

#define HAVE_STDINT_H 1
#define HAVE_SSIZE_T 1
#define HAVE_SYS_TIME_H 1
#define HAVE_SYS_STAT_H 1
#define HAVE_WCHAR_H 1
#define HAVE_UINTPTR_T 1
#define HAVE_PTHREAD_H 1

#endif
