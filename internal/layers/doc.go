// Package layers holds the tests that keep imports running one way: who may
// import whom, what core must never reach for, and which folders alone may
// know the Cosmos SDK. They read the files, so the test cache notices a change.
package layers
