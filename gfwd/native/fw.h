/*
 * What every file of the core shares: the contract with Python, guarded and with its sizes asserted, and three macros.
 */
#ifndef GFWD_FW_H
#define GFWD_FW_H

#include <stddef.h>
#include <stdint.h>

#include "fw_abi.h"

#define FW_NONE UINT32_MAX

#ifndef likely
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#endif

/* Two workers never write into one cache line; x86-64 fetches lines in pairs. */
#define FW_CACHE_LINE 128

/* Python writes these as arrays of plain integers: a hidden gap would shift everything behind it. */
_Static_assert(sizeof(struct fw_plan_port) == 32, "fw_plan_port");
_Static_assert(sizeof(struct fw_plan_target) == 32, "fw_plan_target");
_Static_assert(sizeof(struct fw_plan_rule) == 16, "fw_plan_rule");
_Static_assert(sizeof(struct fw_plan_node) == 16, "fw_plan_node");
_Static_assert(sizeof(struct fw_plan_range) == 8, "fw_plan_range");
_Static_assert(sizeof(struct fw_plan_segment4) == 8, "fw_plan_segment4");
_Static_assert(sizeof(struct fw_plan_segment6) == 24, "fw_plan_segment6");
_Static_assert(sizeof(struct fw_plan_own4) == 8, "fw_plan_own4");
_Static_assert(sizeof(struct fw_plan_own6) == 32, "fw_plan_own6");
_Static_assert(sizeof(struct fw_plan_special) == 24, "fw_plan_special");
_Static_assert(sizeof(struct fw_plan_choice) == 16, "fw_plan_choice");
_Static_assert(sizeof(struct fw_plan_option) == 40, "fw_plan_option");
_Static_assert(sizeof(struct fw_plan_pace4) == 8, "fw_plan_pace4");
_Static_assert(sizeof(struct fw_plan_pace6) == 24, "fw_plan_pace6");
_Static_assert(sizeof(struct fw_plan_sender) == 24, "fw_plan_sender");
_Static_assert(sizeof(struct fw_plan_tap) == 32, "fw_plan_tap");
_Static_assert(sizeof(struct fw_plan_tap_source) == 40, "fw_plan_tap_source");
_Static_assert(sizeof(struct fw_plan) % 8 == 0, "fw_plan");
_Static_assert(sizeof(struct fw_record) == 48, "fw_record");

#endif
