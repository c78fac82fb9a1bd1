package repair

import (
	"context"
	"errors"

	"hearth/storage/remote"
)

// AnswerOf says what the error of a read tells about its host. What a host says
// itself is never an excuse: one that calls itself busy or unpaid whenever it is
// asked doesn't serve.
func AnswerOf(err error) Answer {
	if errors.Is(err, context.Canceled) {
		return Nothing
	}
	switch class := remote.Classify(err); {
	case class == remote.Fine:
		return Served
	case class == remote.Lost, class == remote.Garbage:
		return Lost
	case remote.Said(err):
		return Refused
	case class == remote.Unreachable:
		return Silent
	}
	return Nothing
}
