/* What has become of a path. The kernels hint at changes of the file, each in its own way; what is
 * told follows from a look at the path and its file, so that it is the same on all of them. */
#include "watches.h"

#ifdef __APPLE__
#define MODIFIED st_mtimespec
#define CHANGED st_ctimespec
#else
#define MODIFIED st_mtim
#define CHANGED st_ctim
#endif

#define ATTEMPTS 16 /* to catch a path that is replaced again and again */

static bool is_same_file(const struct stat *one, const struct stat *other) {
    return one->st_dev == other->st_dev && one->st_ino == other->st_ino;
}

/* Where another file of this name would come to. */
static void find_folder(path_watch *p) {
    char *file = realpath(p->path, NULL);
    char *last = file ? strrchr(file, '/') : NULL;
    if (!last)
        return;             /* it went just now: what was found before holds */
    last[last == file] = 0; /* the root's folder is the root */
    free(p->folder);
    p->folder = file;
}

/* Watches what is at the path: the file that was looked at must still be there afterwards. */
static int follow(path_watch *p) {
    struct stat now;
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        int result = kernel_path_watch(p);
        if (result < 0)
            return result;
        find_folder(p);
        if (stat(p->path, &now) == 0 && is_same_file(&now, &p->was))
            return 0;
        kernel_path_leave(p);
    }
    return -ENOENT;
}

int path_open(path_watch *p) {
    int result = follow(p);
    if (result < 0)
        path_close(p);
    return result;
}

void path_close(path_watch *p) {
    free(p->folder);
    p->folder = NULL;
}

/* The kernels disagree on truncation (FreeBSD: attributes, OpenBSD: truncated), on links (the
 * inotify's attributes, FreeBSD's deletion) and on all of these of directories.
 *
 * Where the attributes may be a truncation or a link, times that were set show all the same: what
 * is written has the time of its last change. */
static uint32_t compare(const struct stat *was, const struct stat *is, uint32_t hints) {
    uint32_t changes = hints & PATH_WRITTEN;
    bool is_folder = S_ISDIR(is->st_mode);
    bool resized = !is_folder && is->st_size != was->st_size;
    bool relinked = !is_folder && is->st_nlink != was->st_nlink;
    bool hinted = hints & PATH_ATTRIBUTES || (hints & PATH_LINKED && !is_folder);
    bool truncated = kernel_truncation_is_attributes && (resized || hints & PATH_WRITTEN);
    bool times_set = is->st_mtime != was->st_mtime && is->st_mtime != is->st_ctime;
    if (hints & PATH_RENAMED) /* and has come back */
        changes |= PATH_RENAMED | PATH_REPLACED;
    if (resized)
        changes |= PATH_WRITTEN | (is->st_size > was->st_size ? PATH_EXTENDED : 0u);
    if (relinked)
        changes |= PATH_LINKED;
    if ((hinted && (times_set || !(truncated || relinked))) || is->st_mode != was->st_mode ||
        is->st_uid != was->st_uid || is->st_gid != was->st_gid)
        changes |= PATH_ATTRIBUTES;
    return changes;
}

/* The limits of descriptors and of watches, which others may come to at any time. */
static bool is_for_want_of_room(int error) {
    return error == -EMFILE || error == -ENFILE || error == -ENOSPC || error == -ENOMEM;
}

/* The place of the folder's watch will do for the file's. */
static int follow_in_its_place(path_watch *p) {
    kernel_path_found(p);
    int result = follow(p);
    if (result < 0)
        kernel_path_await(p);
    return result;
}

static uint32_t look_for_another(path_watch *p) {
    int result = follow(p);
    if (is_for_want_of_room(result) && p->parent >= 0)
        result = follow_in_its_place(p);
    p->blind = is_for_want_of_room(result) && stat(p->path, &p->was) == 0;
    if (result < 0 && !p->blind)
        return 0;
    if (!p->blind)
        kernel_path_found(p);
    p->lost = false;
    return PATH_REPLACED;
}

/* It may have come before the folder was watched, or may be read only now. Where there is no
 * folder, or it can't be watched, each look is a new try. */
static uint32_t await_another(path_watch *p) {
    if (p->parent < 0)
        kernel_path_await(p);
    return look_for_another(p);
}

static bool is_same_time(const struct timespec *one, const struct timespec *other) {
    return one->tv_sec == other->tv_sec && one->tv_nsec == other->tv_nsec;
}

/* What nobody could hint at shows by the times of the file. */
static uint32_t hints_from(const struct stat *was, const struct stat *is) {
    if (!is_same_time(&was->MODIFIED, &is->MODIFIED))
        return PATH_WRITTEN;
    return is_same_time(&was->CHANGED, &is->CHANGED) ? 0 : PATH_ATTRIBUTES;
}

/* Each look is a new try to watch it, too. */
static uint32_t look_blindly(path_watch *p) {
    struct stat was = p->was;
    if (!look_for_another(p)) {
        p->lost = true;
        return PATH_DELETED | await_another(p);
    }
    return is_same_file(&was, &p->was) ? compare(&was, &p->was, hints_from(&was, &p->was))
                                       : PATH_REPLACED;
}

uint32_t path_changes(path_watch *p, uint32_t hints) {
    struct stat is;
    if (p->lost)
        return await_another(p);
    if (p->blind)
        return look_blindly(p);
    if (hints == 0)
        return 0;
    bool is_there = stat(p->path, &is) == 0;
    if (is_there && p->file >= 0 && is_same_file(&is, &p->was)) {
        uint32_t changes = compare(&p->was, &is, hints);
        p->was = is;
        return changes;
    }
    /* The path leads elsewhere, or nowhere: the file that it led to is of no concern any more. */
    uint32_t changes = hints & (PATH_WRITTEN | PATH_RENAMED);
    kernel_path_leave(p);
    if (is_there && look_for_another(p))
        return changes | PATH_REPLACED;
    p->lost = true;
    if (!(changes & PATH_RENAMED))
        changes |= PATH_DELETED;
    return changes | await_another(p);
}
