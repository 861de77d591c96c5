"""The words of the domain as data: ids, statuses and records. No behaviour, no I/O."""
