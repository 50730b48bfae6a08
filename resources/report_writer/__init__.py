"""The report of a batch: one HTML page for people, and the details that it is written from."""

PAGE, DETAILS = "report.html", "report.json"
"""The files in a batch's folder of reports."""
