"""report.html: what a trained model gets right and wrong, on one page that needs no network."""
