/* An intrusive ring list: the head is a node that holds nothing. One owner thread. */
#ifndef SB_BASE_LIST_H
#define SB_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

typedef struct sb_list {
    struct sb_list *next, *prev;
} sb_list;

/* Makes an empty head, or a node that is on no list. */
static inline void sb_list_init(sb_list *l)
{
    l->next = l->prev = l;
}
static inline bool sb_list_empty(const sb_list *l)
{
    return l->next == l;
}
/* True for a node that is on some list. */
static inline bool sb_list_linked(const sb_list *l)
{
    return l->next != l;
}
static inline void sb_list_push(sb_list *head, sb_list *node)
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}
/* Idempotent: the node is on no list afterwards. */
static inline void sb_list_remove(sb_list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    sb_list_init(node);
}
/* The first node, removed; NULL when empty. */
static inline sb_list *sb_list_pop(sb_list *head)
{
    sb_list *first = head->next;
    if (first == head)
        return NULL;
    sb_list_remove(first);
    return first;
}
/* Moves all nodes of from to the end of to. */
static inline void sb_list_splice(sb_list *to, sb_list *from)
{
    if (sb_list_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    sb_list_init(from);
}
#define sb_list_each(it, head) for (sb_list *it = (head)->next; it != (head); it = it->next)
/* Safe against removal of `it` itself, not of its successor. */
#define sb_list_each_safe(it, head)                                                                \
    for (sb_list *it = (head)->next, *it##_next = it->next; it != (head);                          \
         it = it##_next, it##_next = it->next)

#endif
