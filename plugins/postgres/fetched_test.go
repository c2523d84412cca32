package postgres

import "errors"

func fetched() (string, error) { return "", errors.New("there is no PostgreSQL") }
