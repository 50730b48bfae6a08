"""From a file to records: previewed, validated, compared, committed."""
