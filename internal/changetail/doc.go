// Package changetail keeps the latest changes of a store that others write to as well, for all
// followers of this process: one watch feeds them. It begins with the first follower, and ends some
// minutes after the last.
//
// What belongs here is what backends of such stores have in common. How a store is watched, and
// where older changes are, is the backend's business.
package changetail
