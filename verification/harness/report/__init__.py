"""What a run leaves: readiness.json, junit.xml, summary.md, report.html. Judges nothing."""
