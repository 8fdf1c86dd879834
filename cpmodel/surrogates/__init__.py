"""Models of precision and of complexity, one file each, their selection and their intervals."""
