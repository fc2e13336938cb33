"""What everything else stands on: errors, whole files, tables, datalists, the tracking store."""
