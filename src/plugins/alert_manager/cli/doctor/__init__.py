"""`alerts.sh doctor`: looks at all that CoreC needs, and says how to mend what is wrong."""
