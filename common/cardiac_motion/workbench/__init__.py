"""The workbench: a page in the browser to see, correct and take away strain."""
